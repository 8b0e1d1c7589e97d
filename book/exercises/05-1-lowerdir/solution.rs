/// The options of an overlay mount. `layers` are directories, the base image
/// first and what was built on it after that.
pub fn options(layers: &[&str], upper: &str, work: &str) -> String {
    // BEGIN
    let mut lower: Vec<&str> = layers.to_vec();
    // The kernel looks from left to right, so the topmost comes first.
    lower.reverse();
    format!("lowerdir={},upperdir={upper},workdir={work}", lower.join(":"))
    // STARTER
    //= let lower = layers.join(":");
    //= format!("lowerdir={lower},upperdir={upper},workdir={work}")
    // END
}
