//! Recorded conversations, played through the binary.

use noex_conformance::{ServerCommand, assert_group};

fn command() -> ServerCommand {
    ServerCommand::new(env!("CARGO_BIN_EXE_noex-server")).args([
        "--host",
        "127.0.0.1",
        "--ready-line",
        "--config",
        "{config}",
    ])
}

macro_rules! groups {
    ($($name:ident)*) => {
        $(#[test] fn $name() { assert_group(stringify!($name), command()); })*

        #[test]
        fn no_group_is_left_out() {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance/scenarios");
            let mut names: Vec<String> = std::fs::read_dir(folder)
                .expect("readable")
                .map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"))
                .collect();
            names.sort();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

groups! { audit connection extensions identity procedures revocation rules smoke store }
