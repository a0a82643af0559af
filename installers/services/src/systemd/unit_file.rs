//! A file about units: a unit, an alias, a mask, or a script. It is in a package or on the device.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use wharf_frames::packed::PackedFile;
use wharf_root::{Root, durable, merged};

use super::unit_name::UnitName;

/// The folders from which systemd loads (systemd.unit(5)), below the root. `/lib` is `/usr/lib` here.
pub(super) const FOLDERS: [&str; 12] = [
    "etc/systemd/system.control/",
    "run/systemd/system.control/",
    "run/systemd/transient/",
    "run/systemd/generator.early/",
    "etc/systemd/system/",
    "etc/systemd/system.attached/",
    "run/systemd/system/",
    "run/systemd/system.attached/",
    "run/systemd/generator/",
    "usr/local/lib/systemd/system/",
    "usr/lib/systemd/system/",
    "run/systemd/generator.late/",
];

/// Scripts of SysV init: systemd makes a unit of each that has none (systemd-sysv-generator(8)).
pub(super) const SCRIPTS: &str = "etc/init.d/";

/// A file of a package, or of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnitFile {
    path: String,
    target: Option<String>,
    claims: Vec<String>,
    also: Vec<String>,
}

impl UnitFile {
    /// A file at this path. `text` is its content, if [`UnitFile::says_names`].
    pub(crate) fn new(path: &str, text: &[u8]) -> Self {
        let path = merged(path);
        let text = String::from_utf8_lossy(text);
        let (claims, also) = match (Self::says_names(&path), path.starts_with(SCRIPTS)) {
            (false, _) => Default::default(),
            (true, false) => (installed(&text, "Alias"), installed(&text, "Also")),
            (true, true) => (provides(&text), Vec::new()),
        };
        Self {
            path,
            target: None,
            claims,
            also,
        }
    }

    /// A symbolic link at this path.
    pub(crate) fn link(path: &str, target: &str) -> Self {
        let path = merged(path);
        let folder = Path::new("/").join(&path);
        let target = folder.parent().unwrap_or(Path::new("/")).join(target);
        Self {
            path,
            target: Some(merged(&lexical(&target))),
            claims: Vec::new(),
            also: Vec::new(),
        }
    }

    /// A file of a package that is about to be installed.
    pub(super) fn packed(root: &Root, file: &PackedFile) -> Self {
        match &file.target {
            Some(target) => Self::link(&file.path, target).through_links(root),
            None => Self::new(&file.path, &file.content),
        }
    }

    /// The file at this path of the device; none if there is no file, or a folder.
    pub(crate) fn read(root: &Root, path: &str) -> io::Result<Option<Self>> {
        let there = root.path(path.trim_start_matches('/'));
        let kind = match fs::symlink_metadata(&there) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if kind.is_symlink() {
            let target = fs::read_link(&there)?;
            return Ok(Some(
                Self::link(path, &target.to_string_lossy()).through_links(root),
            ));
        }
        if !kind.is_file() {
            return Ok(None);
        }
        let text = match Self::says_names(&merged(path)) {
            true => durable::read(&there)?.unwrap_or_default(),
            false => Vec::new(),
        };
        Ok(Some(Self::new(path, &text)))
    }

    /// Whether such a path exists.
    pub(super) fn is_there(root: &Root, path: &str) -> bool {
        let unmerged = path.strip_prefix("usr/").unwrap_or(path);
        [path, unmerged]
            .iter()
            .any(|path| root.path(path).symlink_metadata().is_ok())
    }

    /// Resolves links among the folders of the target.
    pub(crate) fn through_links(mut self, root: &Root) -> Self {
        let folder = self.target.as_deref().and_then(|it| it.rsplit_once('/'));
        let Some((folder, name)) = folder else {
            return self;
        };
        if let Ok(real) = root.path(folder).canonicalize() {
            let inside = root.seen_inside(&real.join(name));
            self.target = Some(merged(&inside.to_string_lossy()));
        }
        self
    }

    /// Whether the text of a file at this path may give a unit other names.
    pub(crate) fn says_names(path: &str) -> bool {
        let path = merged(path);
        path.starts_with(SCRIPTS) || FOLDERS.iter().any(|folder| path.starts_with(folder))
    }

    /// Below the root; in `usr/lib` also where it was spelled `/lib`.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whether it is a unit under any name: no link to one, and no mask.
    pub(super) fn is_unit(&self) -> bool {
        self.target.as_deref().is_none_or(|target| {
            target != "dev/null" && !FOLDERS.iter().any(|folder| target.starts_with(folder))
        })
    }

    /// The target of a symbolic link, in the same spelling.
    pub(super) fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// The units that are enabled and disabled with its unit (`Also=`).
    pub(super) fn also(&self) -> &[String] {
        &self.also
    }

    /// The other names that it gives its unit once that is enabled (`Alias=`), or that systemd gives a script's.
    pub(super) fn claims(&self) -> &[String] {
        &self.claims
    }
}

/// The unit that systemd makes of the script of this name.
pub(super) fn unit_of_script(script: &str) -> Option<UnitName> {
    let stem = script.strip_suffix(".sh").unwrap_or(script);
    UnitName::new(stem).or_else(|| UnitName::new(&format!("{stem}.service")))
}

fn lexical(path: &Path) -> String {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::Normal(name) => plain.push(name),
            _ => {}
        }
    }
    plain.to_string_lossy().into_owned()
}

/// A list of names in `[Install]` (systemd.unit(5)). An empty value would clear the list, and is ignored.
fn installed(text: &str, key: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let mut section = "";
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        }
        let names = line
            .split_once('=')
            .filter(|(name, _)| section == "[Install]" && name.trim_end() == key);
        if let Some((_, names)) = names {
            found.extend(names.split_whitespace().map(str::to_owned));
        }
    }
    found
}

/// `# Provides:` of a script's header, with the lines that continue it.
fn provides(text: &str) -> Vec<String> {
    let header = text
        .lines()
        .skip_while(|line| !line.starts_with("### BEGIN INIT INFO"))
        .take_while(|line| !line.starts_with("### END INIT INFO"));
    let mut provides = Vec::new();
    let mut goes_on = false;
    for line in header {
        let Some(line) = line.strip_prefix('#') else {
            continue;
        };
        let names = match line.trim_start().split_once(':') {
            Some((key, names)) => {
                goes_on = key.eq_ignore_ascii_case("Provides");
                names
            }
            None => line,
        };
        if goes_on {
            provides.extend(names.split_whitespace().filter_map(unit_of_script));
        }
    }
    let names = provides.into_iter();
    names.map(|unit| unit.as_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_and_a_script_claim_the_names_that_they_say() {
        let unit = "/lib/systemd/system/a.service";
        for (path, text, claims) in [
            (
                unit,
                "[Install]\nAlias=b.service c.service\n",
                vec!["b.service", "c.service"],
            ),
            (
                unit,
                "[Install]\nAlias = b.service \\\n  c.service\nAlias=d.service",
                vec!["b.service", "c.service", "d.service"],
            ),
            (
                unit,
                "[Unit]\nAlias=b.service\n[Install]\n#Alias=c.service\n",
                vec![],
            ),
            (
                "/lib/systemd/system/a.service.d/b.conf",
                "[Install]\nAlias=b.service",
                vec!["b.service"],
            ),
            ("/usr/share/a.service", "[Install]\nAlias=b.service", vec![]),
            (
                "/etc/init.d/a",
                "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: b c\n#\td.sh\n# Required-Start: e\n### END INIT INFO\n# Provides: f",
                vec!["b.service", "c.service", "d.service"],
            ),
        ] {
            assert_eq!(
                UnitFile::new(path, text.as_bytes()).claims(),
                claims,
                "{text}"
            );
        }
    }

    #[test]
    fn a_link_leads_where_its_folders_lead() {
        for (path, target, expected) in [
            (
                "./lib/systemd/system/a.service",
                "b.service",
                "usr/lib/systemd/system/b.service",
            ),
            (
                "/etc/systemd/system/x.wants/a.service",
                "../../../../lib/systemd/system/a.service",
                "usr/lib/systemd/system/a.service",
            ),
            ("/etc/systemd/system/a.service", "/dev/null", "dev/null"),
            (
                "/etc/systemd/system/a.service",
                "/opt/../opt/./a.service",
                "opt/a.service",
            ),
        ] {
            assert_eq!(
                UnitFile::link(path, target).target(),
                Some(expected),
                "{target}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path().canonicalize().unwrap());
        fs::create_dir_all(root.path("usr/lib/systemd/system")).unwrap();
        fs::create_dir_all(root.path("etc/systemd/system")).unwrap();
        std::os::unix::fs::symlink("usr/lib/systemd/system", root.path("units")).unwrap();
        let link = root.path("etc/systemd/system/a.service");
        std::os::unix::fs::symlink("../../../units/b.service", link).unwrap();
        let read = UnitFile::read(&root, "/etc/systemd/system/a.service")
            .unwrap()
            .unwrap();
        assert_eq!(read.target(), Some("usr/lib/systemd/system/b.service"));
    }
}
