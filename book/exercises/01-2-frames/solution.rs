/// Puts a piece of output into a frame: one byte with the number of the
/// stream, three zeros, the length as four bytes, the piece itself.
pub fn frame(stream: u8, piece: &[u8]) -> Vec<u8> {
    // BEGIN
    let length = u32::try_from(piece.len()).expect("a piece of a pipe");
    let mut frame = vec![stream, 0, 0, 0];
    frame.extend(length.to_be_bytes());
    frame.extend(piece);
    frame
    // STARTER
    //= let _ = stream;
    //= todo!("the header of 8 bytes, then the piece: {}", piece.len())
    // END
}

/// Takes the first frame off `bytes`, if it is complete.
pub fn take(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    // BEGIN
    let header: [u8; 8] = bytes.get(..8)?.try_into().ok()?;
    let [stream, _, _, _, a, b, c, d] = header;
    let end = 8 + u32::from_be_bytes([a, b, c, d]) as usize;
    let piece = bytes.get(8..end)?.to_vec();
    bytes.drain(..end);
    Some((stream, piece))
    // STARTER
    //= todo!("a frame, or None until {} bytes are enough", bytes.len())
    // END
}
