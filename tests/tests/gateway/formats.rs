//! wharfd's own packages of other formats have what the Debian package has.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use wharf_tests::{
    command::{output_of, text_of},
    folder::Folder,
    programs::workspace,
    wharfd_package::{rebuilt_ipk, rebuilt_rpm, wharfd_ipk, wharfd_package, wharfd_rpm},
};

/// Each file and link with type and mode, owner, group, and its content or target.
type Contents = BTreeMap<String, [String; 4]>;

/// Files of the Debian package alone: what Debian asks of its packages.
const DEBIAN_ALONE: [&str; 3] = [
    "/usr/share/doc/wharfd/changelog.Debian.gz",
    "/usr/share/doc/wharfd/copyright",
    "/usr/share/lintian/overrides/wharfd",
];

/// Files that lie elsewhere in the Debian package.
const MOVED: [(&str, &str); 2] = [
    ("/lib/systemd/system/", "/usr/lib/systemd/system/"),
    (
        "/usr/share/zsh/vendor-completions/",
        "/usr/share/zsh/site-functions/",
    ),
];

/// Licences, which every Debian has.
const LICENCES: [&str; 6] = [
    "/usr/share/licenses/wharfd/GPL-2",
    "/usr/share/licenses/wharfd/GPL-3",
    "/usr/share/licenses/wharfd/LGPL-2",
    "/usr/share/licenses/wharfd/LGPL-3",
    "/usr/share/licenses/wharfd/LICENSE-APACHE",
    "/usr/share/licenses/wharfd/LICENSE-MIT",
];

#[test]
fn an_rpm_has_the_files_of_the_debian_package() {
    assert_same(of_rpm());
}

#[test]
fn a_package_for_opkg_has_the_files_of_the_debian_package() {
    assert_same(of_ipk());
}

#[test]
fn rpmlint_finds_nothing() {
    let mut rpmlint = Command::new("rpmlint");
    let pinned = workspace().join("packaging/rpm/rpmlint.toml");
    let said = text_of(
        rpmlint
            .arg("--strict")
            .arg("--config")
            .arg(pinned)
            .arg(wharfd_rpm()),
    );
    assert!(said.contains("0 errors, 0 warnings"), "{said}");
}

#[test]
fn the_same_programs_are_the_same_package() {
    let folder = Folder::new();
    let rpm = |into: &Path| rebuilt_rpm(into, "1-1", |spec| spec);
    let ipk = |into: &Path| rebuilt_ipk(into, "1-1");
    for build in [&rpm as &dyn Fn(&Path) -> PathBuf, &ipk] {
        let [first, second] = ["first", "second"].map(|name| build(&folder.make(name)));
        let same = fs::read(&first).expect("a package") == fs::read(&second).expect("a package");
        assert!(same, "{first:?} and {second:?} differ");
    }
}

#[test]
fn the_recipe_for_yocto_has_the_crates_and_the_licences_of_the_sources() {
    let folder = Folder::new();
    let layer = folder.make("layer");
    let script = workspace().join("packaging/build-recipe");
    output_of(Command::new(script).arg(&layer));
    let recipes = layer.join("recipes-support/wharfd");
    let read = |path: PathBuf| {
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
    };
    let recipe = read(recipes.join(concat!("wharfd_", env!("CARGO_PKG_VERSION"), ".bb")));
    for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
        let summed = text_of(Command::new("md5sum").arg(workspace().join(licence)));
        let expected = format!("file://{licence};md5={}", &summed[..32]);
        assert!(recipe.contains(&expected), "no {expected}");
    }
    assert!(!recipe.contains("@SRCREV@"), "{recipe}");
    let crates = read(recipes.join("wharfd-crates.inc"));
    let locked = read(workspace().join("Cargo.lock"));
    let checksums = locked.matches("\nchecksum = ").count();
    assert!(checksums > 100, "{checksums} crates");
    for of_a_crate in [" crate://crates.io/", ".sha256sum] = "] {
        assert_eq!(
            crates.matches(of_a_crate).count(),
            checksums,
            "{of_a_crate}"
        );
    }
}

/// The contents, apart from the differences above.
#[track_caller]
fn assert_same(mut contents: Contents) {
    for licence in LICENCES {
        let found = contents.remove(licence);
        assert_eq!(
            found.map(|[mode, ..]| mode),
            Some("100644".into()),
            "{licence}"
        );
    }
    let expected = of_debian();
    assert!(expected.len() > 70, "{} files", expected.len());
    for (path, is) in &expected {
        assert_eq!(contents.get(path), Some(is), "{path}");
    }
    contents.retain(|path, _| !expected.contains_key(path));
    assert!(contents.is_empty(), "more: {contents:?}");
}

/// The files of the Debian package at the places of others.
fn of_debian() -> Contents {
    let folder = Folder::new();
    let package = folder.make("package");
    let mut unpack = Command::new("dpkg-deb");
    output_of(unpack.arg("--extract").arg(wharfd_package()).arg(&package));
    let list = text_of(
        Command::new("dpkg-deb")
            .arg("--contents")
            .arg(wharfd_package()),
    );
    assert!(
        list.lines().all(|line| line.contains(" root/root ")),
        "{list}"
    );
    let mut contents = below(&package);
    for path in DEBIAN_ALONE {
        assert!(contents.remove(path).is_some(), "no {path}");
    }
    let moved = contents.into_iter().map(|(path, is)| {
        let place = MOVED.iter().find_map(|(from, to)| {
            let name = path.strip_prefix(from)?;
            Some(format!("{to}{name}"))
        });
        (place.unwrap_or(path), is)
    });
    moved.collect()
}

/// All files and links below a folder in which root unpacked them.
fn below(folder: &Path) -> Contents {
    let mut find = Command::new("find");
    let find = find.arg(folder);
    let find = find.args(["!", "-type", "d", "-printf", "%y %m /%P\t%l\n"]);
    let listed = text_of(find);
    let entries = listed.lines().map(|line| {
        let (entry, target) = line.split_once('\t').unwrap_or((line, ""));
        let mut words = entry.splitn(3, ' ');
        let [kind, mode, path] = [(); 3].map(|()| words.next().expect("three words"));
        let (kind, content) = match kind {
            "l" => ("120", target.to_owned()),
            _ => ("100", digest(folder, path)),
        };
        let root = "root".to_owned();
        (
            path.to_owned(),
            [format!("{kind}{mode}"), root.clone(), root, content],
        )
    });
    entries.collect()
}

fn digest(folder: &Path, path: &str) -> String {
    let file = folder.join(path.trim_start_matches('/'));
    let summed = text_of(Command::new("sha256sum").arg(file));
    summed[..64].to_owned()
}

fn of_rpm() -> Contents {
    let format = "[%{FILEMODES:octal}\\t%{FILEUSERNAME}\\t%{FILEGROUPNAME}\\t%{FILEDIGESTS}%{FILELINKTOS}\\t%{FILENAMES}\\n]";
    let listed = text_of(
        Command::new("rpm")
            .args(["-qp", "--qf", format])
            .arg(wharfd_rpm()),
    );
    let mut contents = Contents::new();
    let mut folders = Vec::new();
    for line in listed.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [mode, owner, group, content, path] = fields[..] else {
            panic!("{line:?}");
        };
        if mode.starts_with('4') {
            folders.push(format!("{path} {mode} {owner} {group}"));
        } else {
            let is = [mode, owner, group, content].map(str::to_owned);
            contents.insert(path.to_owned(), is);
        }
    }
    // In the Debian package, systemd-tmpfiles gives the first one to wharfd's group.
    let expected = [
        "/etc/wharfd 40750 root wharfd",
        "/usr/libexec/wharfd 40755 root root",
        "/usr/share/doc/wharfd 40755 root root",
        "/usr/share/doc/wharfd/decisions 40755 root root",
        "/usr/share/licenses/wharfd 40755 root root",
    ];
    assert_eq!(folders, expected);
    contents
}

fn of_ipk() -> Contents {
    let folder = Folder::new();
    let package = folder.make("package");
    let mut unpack = Command::new("ar");
    output_of(unpack.arg("x").arg(wharfd_ipk()).current_dir(folder.path()));
    let data = folder.join("data.tar.xz");
    output_of(
        Command::new("tar")
            .arg("-xf")
            .arg(&data)
            .arg("-C")
            .arg(&package),
    );
    let list = text_of(
        Command::new("tar")
            .arg("-tvf")
            .arg(&data)
            .arg("--numeric-owner"),
    );
    assert!(list.lines().all(|line| line.contains(" 0/0 ")), "{list}");
    below(&package)
}
