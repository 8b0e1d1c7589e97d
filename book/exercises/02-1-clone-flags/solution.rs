/// The flags with which clone3(2) makes a container's first process.
pub fn namespaces() -> i32 {
    // BEGIN
    libc::CLONE_NEWPID
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWNET
    // STARTER
    //= // One is not enough.
    //= libc::CLONE_NEWUTS
    // END
}
