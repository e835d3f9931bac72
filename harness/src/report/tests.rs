//! The report as files, from a run made up for it.

use super::*;

#[test]
fn draw() {
    let dir = Path::new("/tmp/f/b3-out");
    std::fs::create_dir_all(dir).unwrap();
    write_all(dir, &synthetic::run(["pool", "hybrid", "archived"])).unwrap();
}
