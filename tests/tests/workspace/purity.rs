use std::{fs, path::PathBuf, process::Command};

use wharf_tests::{
    command::{output_of, text_of},
    programs::{cargo, target},
};

use crate::wasm::Module;

const TARGET: &str = "wasm32-unknown-unknown";

/// The target has no operating system: a crate imports all that it needs from outside.
#[test]
fn the_pure_crates_import_nothing() {
    add_target();
    for package in ["lwm2m", "wharf-software", "wharf-frames"] {
        let module = Module::parse(&fs::read(built(package)).unwrap());
        assert_eq!(module.imports, Vec::<String>::new(), "{package} imports");
        // The module must have all of the crate, or the check shows nothing.
        assert!(
            module.functions > 100,
            "{package} has {} functions",
            module.functions
        );
    }
}

fn add_target() {
    let sysroot = PathBuf::from(text_of(Command::new("rustc").args(["--print", "sysroot"])));
    if !sysroot.join("lib/rustlib").join(TARGET).is_dir() {
        output_of(Command::new("rustup").args(["target", "add", TARGET]));
    }
}

/// The package as one module, unused functions included.
fn built(package: &str) -> PathBuf {
    let mut build = cargo("rustc");
    build.args([
        "--lib",
        "--crate-type",
        "cdylib",
        "--target",
        TARGET,
        "-p",
        package,
    ]);
    build.args([
        "--",
        "-C",
        "link-dead-code",
        "-C",
        "link-arg=--no-gc-sections",
    ]);
    output_of(&mut build);
    let module = format!("{TARGET}/debug/{}.wasm", package.replace('-', "_"));
    target().join(module)
}
