//! `wharfctl bundle`: builds the bundle of a manifest and the files beside it. Equal files make equal bytes. wharf-installer
//! reads bundles.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use wharf_bundle::{
    Draft, FileName, MAX_MANIFEST, Manifest, ManifestError,
    draft::hexadecimal,
    header::{BLOCK, BundleHeader},
};

use crate::{arguments::BundleVerb, error::CommandError, output::print, program::INSTALLER};

/// A bundle that was built.
#[derive(Debug, Serialize)]
struct BuiltBundle {
    file: String,
    name: String,
    version: String,
    length: u64,
    sha256: String,
    files: Vec<BuiltFile>,
}

/// A file in it.
#[derive(Debug, Serialize)]
struct BuiltFile {
    file: String,
    length: u64,
    sha256: String,
}

/// A file for the bundle.
struct Source {
    path: PathBuf,
    name: FileName,
    length: u64,
    sha256: [u8; 32],
}

/// Carries out a verb about bundles.
pub(crate) fn bundle(root: &Path, verb: BundleVerb, json: bool) -> Result<ExitCode, CommandError> {
    let (word, file) = match verb {
        BundleVerb::Build { manifest, output } => {
            return build(&manifest, output, json).map(|()| ExitCode::SUCCESS);
        }
        BundleVerb::Inspect { file } => ("inspect", file),
        BundleVerb::Verify { file } => ("verify", file),
    };
    if !nix::unistd::geteuid().is_root() {
        return Err(CommandError::NotRoot(
            "only root may start the program that reads bundles: try sudo".to_owned(),
        ));
    }
    let mut command = INSTALLER.command(root);
    command.args(json.then_some("--json"));
    command.args(["--", "bundle", word]).arg(file); // a file may begin with a dash
    INSTALLER.run(command)
}

/// Builds the bundle of a manifest. The files lie beside the manifest.
fn build(manifest: &Path, output: Option<PathBuf>, json: bool) -> Result<(), CommandError> {
    let draft = Draft::parse(&text(manifest)?).map_err(|error| wrong(manifest, &error))?;
    let folder = manifest.parent().unwrap_or(Path::new(""));
    let sources = draft.files().map(|name| source(folder, name));
    let sources = sources.collect::<Result<Vec<_>, _>>()?;
    let digests: Vec<[u8; 32]> = sources.iter().map(|source| source.sha256).collect();
    let complete = draft
        .complete(&digests)
        .map_err(|error| wrong(manifest, &error))?;
    let text = complete.to_toml();
    if text.len() as u64 > MAX_MANIFEST {
        let why = format!("with all digests it is longer than {MAX_MANIFEST} bytes");
        return Err(CommandError::Refused(format!(
            "{}: {why}",
            manifest.display()
        )));
    }
    let output = output
        .unwrap_or_else(|| PathBuf::from(format!("{}_{}.wharf", complete.name, complete.version)));
    replaces_no_input(&output, manifest, &sources)?;
    let (length, sha256) = write(&output, &text, &sources)?;
    let built = built(&complete, &output, length, &sha256, &sources);
    print(json, &built, || told(&built))
}

/// A slip in the name of the bundle must not cost a package.
fn replaces_no_input(
    output: &Path,
    manifest: &Path,
    sources: &[Source],
) -> Result<(), CommandError> {
    let Ok(there) = output.canonicalize() else {
        return Ok(()); // nothing is there
    };
    let mut inputs = sources.iter().map(|source| source.path.as_path());
    let is_there = |input: &Path| input.canonicalize().is_ok_and(|input| input == there);
    match is_there(manifest) || inputs.any(is_there) {
        false => Ok(()),
        true => Err(CommandError::Refused(format!(
            "{} is a part of the bundle: give the bundle another name",
            output.display()
        ))),
    }
}

/// The text of a manifest, which is bounded.
fn text(manifest: &Path) -> Result<String, CommandError> {
    let mut text = String::new();
    let read =
        File::open(manifest).and_then(|file| file.take(MAX_MANIFEST + 1).read_to_string(&mut text));
    read.map_err(|source| unread(manifest, source))?;
    Ok(text)
}

fn source(folder: &Path, name: &FileName) -> Result<Source, CommandError> {
    let path = folder.join(name.as_str());
    let opened = open(&path).and_then(|mut file| {
        let mut sha256 = Sha256::new();
        let length = pass_on(&mut file, |bytes| {
            sha256.update(bytes);
            Ok(())
        })?;
        Ok((length, sha256.finalize().into()))
    });
    let (length, sha256) = opened.map_err(|source| unread(&path, source))?;
    Ok(Source {
        path,
        name: name.clone(),
        length,
        sha256,
    })
}

/// Opens a regular file.
fn open(path: &Path) -> io::Result<File> {
    match path.metadata()?.is_file() {
        true => File::open(path),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// Hands on all bytes, and returns their number.
fn pass_on(
    content: &mut dyn Read,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let (mut buffer, mut all) = (vec![0; 64 * 1024], 0);
    loop {
        let length = content.read(&mut buffer)?;
        match buffer.get(..length) {
            Some([]) | None => return Ok(all),
            Some(bytes) => each(bytes)?,
        }
        all += length as u64;
    }
}

/// Writes the bundle beside its place, and then puts it there: nobody finds a part of one.
fn write(output: &Path, text: &str, sources: &[Source]) -> Result<(u64, [u8; 32]), CommandError> {
    let mut new: OsString = output.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let unwritten = |source| unwritten(output, &source);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&new)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => CommandError::Refused(format!(
                "{} exists: another build runs, or was interrupted. Remove it",
                new.display()
            )),
            _ => unwritten(error),
        })?;
    let written = archive(file, text, sources).and_then(|written| {
        fs::rename(&new, output)
            .map(|()| written)
            .map_err(unwritten)
    });
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

/// Writes the archive, and returns its length and its digest.
fn archive(file: File, text: &str, sources: &[Source]) -> Result<(u64, [u8; 32]), CommandError> {
    let mut archive = Archive {
        file: BufWriter::new(file),
        length: 0,
        sha256: Sha256::new(),
    };
    let stopped =
        |error: io::Error| CommandError::Refused(format!("cannot write the bundle: {error}"));
    let manifest = BundleHeader::of_manifest(text.len() as u64);
    archive.entry(&manifest, text.as_bytes()).map_err(stopped)?;
    for source in sources {
        let content = open(&source.path).map_err(|error| unread(&source.path, error))?;
        let header = BundleHeader::of_file(&source.name, source.length);
        let sha256 = archive.entry(&header, content).map_err(stopped)?;
        if sha256 != source.sha256 {
            let why = format!("{} changed while it was read", source.path.display());
            return Err(CommandError::Refused(why));
        }
    }
    archive.finish().map_err(stopped)
}

/// The archive that is written.
struct Archive {
    file: BufWriter<File>,
    length: u64,
    sha256: Sha256,
}

impl Archive {
    /// Writes a file, and returns the digest of its content.
    fn entry(&mut self, header: &BundleHeader, content: impl Read) -> io::Result<[u8; 32]> {
        let block = header.to_block().map_err(io::Error::other)?;
        self.write_all(&block)?;
        let mut sha256 = Sha256::new();
        pass_on(&mut content.take(header.length), |bytes| {
            sha256.update(bytes);
            self.write_all(bytes)
        })?;
        let padding = usize::try_from(header.padding()).map_err(io::Error::other)?;
        self.write_all([0; BLOCK].get(..padding).unwrap_or_default())?;
        Ok(sha256.finalize().into())
    }

    fn finish(mut self) -> io::Result<(u64, [u8; 32])> {
        self.write_all(&[0; 2 * BLOCK])?;
        self.file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .sync_all()?;
        Ok((self.length, self.sha256.finalize().into()))
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length += bytes.len() as u64;
        self.sha256.update(bytes);
        self.file.write_all(bytes)
    }
}

fn built(
    manifest: &Manifest,
    output: &Path,
    length: u64,
    sha256: &[u8; 32],
    sources: &[Source],
) -> BuiltBundle {
    let file = |source: &Source| BuiltFile {
        file: source.name.to_string(),
        length: source.length,
        sha256: hexadecimal(&source.sha256),
    };
    BuiltBundle {
        file: output.display().to_string(),
        name: manifest.name.to_string(),
        version: manifest.version.to_string(),
        length,
        sha256: hexadecimal(sha256),
        files: sources.iter().map(file).collect(),
    }
}

fn told(built: &BuiltBundle) -> String {
    let mut text = format!(
        "{} {} is {} ({} bytes, sha256 {})\n",
        built.name, built.version, built.file, built.length, built.sha256
    );
    for file in &built.files {
        let _ = writeln!(text, "  {} ({} bytes)", file.file, file.length);
    }
    text + &format!("sign it: gpg --armor --detach-sign {}\n", built.file)
}

fn wrong(manifest: &Path, error: &ManifestError) -> CommandError {
    CommandError::Refused(format!("{}: {error}", manifest.display()))
}

fn unread(file: &Path, source: io::Error) -> CommandError {
    CommandError::File {
        file: file.to_owned(),
        source,
    }
}

fn unwritten(file: &Path, error: &io::Error) -> CommandError {
    CommandError::Refused(format!("cannot write {}: {error}", file.display()))
}
