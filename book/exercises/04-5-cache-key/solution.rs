use sha2::{Digest, Sha256};

/// A file that an instruction copies.
pub struct Source {
    pub path: String,
    pub content: Vec<u8>,
    pub mode: u32,
    /// When it was last written, in seconds.
    pub mtime: u64,
}

/// The key under which the result of one instruction is kept: the same key
/// must mean the same layer, and the same layer should mean the same key.
pub fn key(parent: &str, instruction: &str, files: &[Source]) -> String {
    let mut hash = Sha256::new();
    // BEGIN
    let mut add = |part: &[u8]| {
        // With its length before it, no part can pass for the end of the
        // one before.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    };
    add(parent.as_bytes());
    add(instruction.as_bytes());
    let mut files: Vec<&Source> = files.iter().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    for file in files {
        add(file.path.as_bytes());
        add(&file.mode.to_be_bytes());
        add(&file.content);
    }
    // STARTER
    //= hash.update(instruction);
    //= for file in files {
    //=     hash.update(&file.path);
    //=     hash.update(file.mtime.to_be_bytes());
    //= }
    //= let _ = parent;
    // END
    let hex: Vec<_> =
        hash.finalize().iter().map(|it| format!("{it:02x}")).collect();
    hex.concat()
}
