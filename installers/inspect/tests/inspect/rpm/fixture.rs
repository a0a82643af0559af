//! Packages by rpmbuild and rpmsign; their parts, to be put together in other ways.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use wharf_frames::inspect::Format;

use crate::fixture::{Bench, SIGNED, Signer, run};

/// A bench for packages of rpm.
pub(crate) fn bench() -> Bench {
    Bench::of(Format::Rpm)
}

/// The same, with a signer that it trusts.
pub(crate) fn bench_with_signer() -> (Bench, Signer) {
    let (bench, signer) = (bench(), Signer::new());
    bench.trust("packages.asc", &signer.certificate());
    (bench, signer)
}

/// A package for rpmbuild.
pub(crate) struct Recipe<'a> {
    /// Lines of the preamble.
    pub(crate) preamble: &'a str,
    pub(crate) architecture: &'a str,
    /// The compressor of the payload, as rpmbuild names it.
    pub(crate) payload: &'a str,
    /// A shell script that makes the files in $RPM_BUILD_ROOT.
    pub(crate) install: &'a str,
    pub(crate) files: &'a str,
}

impl Default for Recipe<'_> {
    fn default() -> Self {
        Self {
            preamble: "Name: hello\nEpoch: 1\nVersion: 2.10\nRelease: 3\n",
            architecture: "noarch",
            payload: "w9.gzdio",
            install: "mkdir -p $RPM_BUILD_ROOT/usr/share/hello\n\
                for i in $(seq 1000); do echo hello, world; done > $RPM_BUILD_ROOT/usr/share/hello/greeting\n",
            files: "/usr/share/hello\n",
        }
    }
}

/// Each compressor that is known, as rpmbuild names it.
pub(crate) const PAYLOADS: [&str; 4] = ["w.ufdio", "w9.gzdio", "w7.xzdio", "w19.zstdio"];

impl Recipe<'_> {
    pub(crate) fn build(&self, bench: &Bench) -> PathBuf {
        self.build_as(bench, "-bb")
    }

    pub(crate) fn build_source(&self, bench: &Bench) -> PathBuf {
        self.build_as(bench, "-bs")
    }

    fn build_as(&self, bench: &Bench, what: &str) -> PathBuf {
        let top = tempfile::tempdir().unwrap();
        let spec = top.path().join("hello.spec");
        let text = format!(
            "{}Summary: greets\nLicense: MIT\n%description\ngreets\n%install\n{}%files\n{}",
            self.preamble, self.install, self.files
        );
        fs::write(&spec, text).unwrap();
        let mut rpmbuild = Command::new("rpmbuild");
        rpmbuild.env("HOME", top.path()).args([what, "--quiet"]);
        rpmbuild.args(["--target", self.architecture]);
        for (name, value) in [
            ("_topdir", top.path().to_str().unwrap()),
            ("_rpmdir", bench.path("").to_str().unwrap()),
            ("_srcrpmdir", bench.path("").to_str().unwrap()),
            ("_rpmfilename", "hello.rpm"),
            ("_binary_payload", self.payload),
        ] {
            rpmbuild.arg("--define").arg(format!("{name} {value}"));
        }
        run(rpmbuild.arg(&spec));
        let packages = fs::read_dir(bench.path("")).unwrap();
        let mut packages = packages.map(|entry| entry.unwrap().path());
        match what {
            "-bs" => packages
                .find(|path| path.to_str().unwrap().ends_with(".src.rpm"))
                .unwrap(),
            _ => bench.path("hello.rpm"),
        }
    }
}

impl Signer {
    /// Signs the header of the package, by rpmsign.
    pub(crate) fn sign_rpm(&self, package: &Path) {
        let mut rpmsign = Command::new("rpmsign");
        rpmsign.env("HOME", self.home());
        for (name, value) in [
            ("__gpg", "/usr/bin/gpg"),
            ("_gpg_path", self.home().to_str().unwrap()),
            ("_gpg_name", &self.fingerprint),
        ] {
            rpmsign.arg("--define").arg(format!("{name} {value}"));
        }
        run(rpmsign.arg("--addsign").arg(package));
    }

    /// A signature over these bytes, not armored.
    pub(crate) fn packet(&self, bench: &Bench, bytes: &[u8]) -> Vec<u8> {
        let path = bench.path("signed");
        fs::write(&path, bytes).unwrap();
        let mut gpg = self.gpg(SIGNED);
        run(gpg.args(["--output", "-", "--detach-sign"]).arg(&path))
    }
}

/// Tag, type, number of elements, data.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) tag: u32,
    pub(crate) kind: u32,
    pub(crate) count: u32,
    pub(crate) data: Vec<u8>,
}

impl Entry {
    pub(crate) fn binary(tag: u32, data: &[u8]) -> Self {
        let count = data.len() as u32;
        let (kind, data) = (7, data.to_vec());
        Self {
            tag,
            kind,
            count,
            data,
        }
    }

    pub(crate) fn text(tag: u32, text: &str) -> Self {
        Self {
            kind: 6,
            count: 1,
            ..Self::texts(tag, &[text])
        }
    }

    pub(crate) fn texts(tag: u32, texts: &[&str]) -> Self {
        let data = texts
            .iter()
            .flat_map(|text| [text.as_bytes(), &[0]].concat());
        let (kind, count, data) = (8, texts.len() as u32, data.collect());
        Self {
            tag,
            kind,
            count,
            data,
        }
    }

    pub(crate) fn numbers(tag: u32, numbers: &[u32]) -> Self {
        let data = numbers.iter().flat_map(|number| number.to_be_bytes());
        let (kind, count, data) = (4, numbers.len() as u32, data.collect());
        Self {
            tag,
            kind,
            count,
            data,
        }
    }
}

/// The entries of a header, without its region.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Header(pub(crate) Vec<Entry>);

impl Header {
    /// The header that begins here, and its length.
    fn of(bytes: &[u8]) -> (Self, usize) {
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let (count, length) = (number(8), number(12));
        let data = 16 + count * 16;
        let mut places: Vec<_> = (1..count).map(|at| number(16 + at * 16 + 8)).collect();
        places.push(length - 16);
        let entries = (1..count).map(|at| {
            let entry = 16 + at * 16;
            let (kind, count) = (number(entry + 4), number(entry + 12));
            let (start, next) = (places[at - 1], places[at]);
            let length = match kind {
                3 => count * 2,
                4 => count * 4,
                5 => count * 8,
                7 => count,
                _ => {
                    let texts = bytes[data + start..data + next].split_inclusive(|&byte| byte == 0);
                    texts.take(count).map(<[u8]>::len).sum()
                }
            };
            Entry {
                tag: number(entry) as u32,
                kind: kind as u32,
                count: count as u32,
                data: bytes[data + start..data + start + length].to_vec(),
            }
        });
        (Self(entries.collect()), data + length)
    }

    /// Its bytes, with this region, which is the whole of it.
    pub(crate) fn bytes(&self, region: u32) -> Vec<u8> {
        let (mut index, mut data) = (Vec::new(), Vec::new());
        for entry in &self.0 {
            let size = match entry.kind {
                3 => 2,
                4 => 4,
                5 => 8,
                _ => 1,
            };
            data.resize(data.len().next_multiple_of(size), 0);
            index.push([entry.tag, entry.kind, data.len() as u32, entry.count]);
            data.extend(&entry.data);
        }
        index.insert(0, [region, 7, data.len() as u32, 16]);
        let extent = (index.len() as u32 * 16).wrapping_neg();
        data.extend([region, 7, extent, 16].map(u32::to_be_bytes).concat());
        let numbers = [index.len() as u32, data.len() as u32];
        let mut bytes = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
        bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        bytes.extend(
            index
                .iter()
                .flatten()
                .flat_map(|number| number.to_be_bytes()),
        );
        bytes.extend(data);
        bytes
    }

    pub(crate) fn get(&mut self, tag: u32) -> &mut Entry {
        let entry = self.0.iter_mut().find(|entry| entry.tag == tag);
        entry.unwrap_or_else(|| panic!("no tag {tag}"))
    }

    pub(crate) fn remove(&mut self, tag: u32) {
        self.0.retain(|entry| entry.tag != tag);
    }

    /// Puts the entry in the place of the one with its tag, or where it belongs.
    pub(crate) fn put(&mut self, entry: Entry) {
        self.remove(entry.tag);
        let at = self.0.partition_point(|other| other.tag < entry.tag);
        self.0.insert(at, entry);
    }
}

/// The parts of a package.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parts {
    pub(crate) lead: Vec<u8>,
    pub(crate) signature: Header,
    pub(crate) header: Header,
    pub(crate) payload: Vec<u8>,
}

impl Parts {
    pub(crate) fn of(package: &Path) -> Self {
        let bytes = fs::read(package).unwrap();
        let (signature, length) = Header::of(&bytes[96..]);
        let start = (96 + length).next_multiple_of(8);
        let (header, length) = Header::of(&bytes[start..]);
        let parts = Self {
            lead: bytes[..96].to_vec(),
            signature,
            header,
            payload: bytes[start + length..].to_vec(),
        };
        assert_eq!(
            parts.bytes(),
            bytes,
            "{} is read wrongly",
            package.display()
        );
        parts
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.lead.clone();
        bytes.extend(self.signature.bytes(62));
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        [bytes, self.header.bytes(63), self.payload.clone()].concat()
    }

    /// Makes the digests of the signature header right again, and the sizes, and signs by this signer.
    pub(crate) fn sign(&mut self, bench: &Bench, signer: &Signer) {
        let header = self.header.bytes(63);
        for (tag, program) in [(269, "sha1sum"), (273, "sha256sum")] {
            self.signature
                .put(Entry::text(tag, &digest(bench, program, &header)));
        }
        self.signature.remove(279);
        let both = [&header[..], &self.payload].concat();
        if self.signature.0.iter().any(|entry| entry.tag == 1000) {
            self.signature
                .put(Entry::numbers(1000, &[both.len() as u32]));
            let md5 = digest(bench, "md5sum", &both);
            let byte = |at| u8::from_str_radix(&md5[at..at + 2], 16).unwrap();
            let md5: Vec<_> = (0..32).step_by(2).map(byte).collect();
            self.signature.put(Entry::binary(1004, &md5));
        }
        let packet = signer.packet(bench, &header);
        self.signature.put(Entry::binary(267, &packet));
    }

    /// States the digest of the payload in the header.
    pub(crate) fn state_payload(&mut self, bench: &Bench) {
        let digest = digest(bench, "sha256sum", &self.payload);
        self.header.put(Entry::texts(5092, &[&digest]));
    }
}

fn digest(bench: &Bench, program: &str, bytes: &[u8]) -> String {
    let path = bench.path("hashed");
    fs::write(&path, bytes).unwrap();
    let printed = String::from_utf8(run(Command::new(program).arg(&path))).unwrap();
    printed.split(' ').next().unwrap().to_owned()
}
