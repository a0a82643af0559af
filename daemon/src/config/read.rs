//! Reads the configuration: the file and its drop-ins, each value validated, every default filled in.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::Spanned;
use wharf_frames::PackageName;
use wharf_software::{NotAnHttpOrigin, ShortId, UriOrigin};
use wharf_transport::{Scheme, ServerAddress};

use super::{
    error::ConfigError,
    psk::{self, Places},
    raw::{self, ConfigSource},
    settings::{Activation, DeviceSettings, ServerSettings, Settings, Timing},
};
use crate::endpoint;

/// The Short Server ID of the one server.
const ONLY_SERVER: ShortId = ShortId(1);

/// In seconds.
const DAY: u32 = 24 * 60 * 60;

impl Settings {
    /// Reads `wharfd.toml` and `wharfd.toml.d/*.toml` below this root. A later file overrides the keys
    /// of an earlier one.
    pub fn read(root: &Path) -> Result<Self, ConfigError> {
        Self::read_at(Places {
            root,
            credentials: credentials(root).as_deref(),
            may_be_unseen: false,
        })
    }

    /// Checks the configuration. systemd shows a credential to the service, and not to the check before a reload
    /// (`ExecReload=`), so a credential may be unreadable here.
    pub fn check(root: &Path) -> Result<(), ConfigError> {
        Self::read_at(Places {
            root,
            credentials: credentials(root).as_deref(),
            may_be_unseen: true,
        })
        .map(drop)
    }

    fn read_at(places: Places<'_>) -> Result<Self, ConfigError> {
        let root = places.root;
        let main = root.join("etc/wharfd/wharfd.toml");
        let mut settings = Draft::default();
        for path in std::iter::once(main).chain(drop_ins(root)?) {
            if let Some(text) = raw::read(&path)? {
                let source = ConfigSource {
                    path: &path,
                    text: &text,
                };
                settings.merge(&source, places)?;
            }
        }
        settings.finish(root)
    }
}

/// The folder of the service's credentials: systemd names it to the service itself; root finds it in /run.
fn credentials(root: &Path) -> Option<PathBuf> {
    let of_this_process = env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    of_this_process.or_else(|| {
        let of_the_service = root.join("run/credentials/wharfd.service");
        of_the_service.is_dir().then_some(of_the_service)
    })
}

fn drop_ins(root: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let folder = root.join("etc/wharfd/wharfd.toml.d");
    let failed = |source| ConfigError::Read {
        file: folder.clone(),
        source,
    };
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The values of the files read so far.
#[derive(Default)]
struct Draft {
    endpoint: Option<String>,
    instances: Option<u16>,
    max_instances: Option<u16>,
    components: Option<bool>,
    server: Option<ServerSettings>,
    activations: BTreeMap<PackageName, Activation>,
    device: DeviceSettings,
    parallel_downloads: Option<usize>,
    credentials_over_http: Vec<UriOrigin>,
    timing: Timing,
}

impl Draft {
    fn merge(&mut self, source: &ConfigSource<'_>, places: Places<'_>) -> Result<(), ConfigError> {
        let file = source.parse()?;
        if let Some(endpoint) = file.endpoint {
            self.endpoint = Some(judge_endpoint(source, endpoint)?);
        }
        if let Some(count) = file.instances {
            self.instances = Some(in_range(source, "instances", &count, 0, 256)?);
        }
        if let Some(count) = file.max_instances {
            self.max_instances = Some(in_range(source, "max-instances", &count, 1, 256)?);
        }
        self.components = file.components.or(self.components);
        for server in file.server {
            if self.server.is_some() {
                let expected = "expected one server: this version supports no second [[server]]";
                return Err(source.error("server", &server, expected));
            }
            self.server = Some(judge_server(source, &server.into_inner(), places)?);
        }
        for (name, package) in file.package {
            let judged = PackageName::new(&name)
                .map_err(|error| source.error("package", &package, format!("{name:?}: {error}")))?;
            self.activations
                .insert(judged, package.into_inner().activation);
        }
        let raw::DeviceTable {
            manufacturer,
            model_number,
        } = file.device;
        for (key, text, place) in [
            ("manufacturer", manufacturer, &mut self.device.manufacturer),
            ("model-number", model_number, &mut self.device.model_number),
        ] {
            if let Some(text) = text {
                *place = Some(judge_text(source, key, text)?);
            }
        }
        if let Some(count) = file.download.parallel {
            self.parallel_downloads = Some(in_range(source, "parallel", &count, 1, 16)?);
        }
        if let Some(origins) = file.download.credentials_over_http {
            let judged = origins.iter().map(|origin| judge_origin(source, origin));
            self.credentials_over_http = judged.collect::<Result<_, _>>()?;
        }
        self.take_timing(source, file.timing)
    }

    fn take_timing(
        &mut self,
        source: &ConfigSource<'_>,
        raw: raw::TimingTable,
    ) -> Result<(), ConfigError> {
        let timing = &mut self.timing;
        for (key, value, place) in [
            ("ack-timeout", raw.ack_timeout, &mut timing.ack_timeout),
            ("retry-first", raw.retry_first, &mut timing.retry.first),
            (
                "retry-longest",
                raw.retry_longest,
                &mut timing.retry.longest,
            ),
            ("connect", raw.connect, &mut timing.connect),
            ("stall", raw.stall, &mut timing.stall),
            ("push-idle", raw.push_idle, &mut timing.push_idle),
            ("in-part", raw.in_part, &mut timing.in_part),
            ("verdict", raw.verdict, &mut timing.verdict),
        ] {
            if let Some(value) = value {
                let longest = Duration::from_secs(24 * 60 * 60).as_millis() as u64;
                *place = Duration::from_millis(in_range(source, key, &value, 1, longest)?);
            }
        }
        Ok(())
    }

    fn finish(self, root: &Path) -> Result<Settings, ConfigError> {
        let endpoint = match self.endpoint {
            Some(endpoint) => endpoint,
            None => endpoint::from_machine_id(root).map_err(ConfigError::NoEndpoint)?,
        };
        let max_instances = self.max_instances.unwrap_or(16);
        Ok(Settings {
            endpoint,
            instances: self.instances.unwrap_or(1).min(max_instances),
            max_instances,
            components: self.components.unwrap_or(false),
            server: self.server,
            activations: self.activations,
            device: self.device,
            parallel_downloads: self.parallel_downloads.unwrap_or(2),
            credentials_over_http: self.credentials_over_http,
            timing: self.timing,
        })
    }
}

fn judge_server(
    source: &ConfigSource<'_>,
    raw: &raw::ServerTable,
    places: Places<'_>,
) -> Result<ServerSettings, ConfigError> {
    let address: ServerAddress = raw
        .uri
        .get_ref()
        .parse()
        .map_err(|error| source.error("uri", &raw.uri, format!("{error}")))?;
    let psk = psk::judge(source, address.scheme(), raw, places)?;
    if address.scheme() == Scheme::Coap && !raw.unprotected {
        let expected = format!(
            "{address} is not encrypted: anybody on the network path can install software here. If the server is on this \
             machine, any user of this machine can, by taking its port while it is down. Write coaps://, or add \
             unprotected = true to allow it"
        );
        return Err(source.error("uri", &raw.uri, expected));
    }
    let lifetime = match &raw.lifetime {
        Some(seconds) => in_range(source, "lifetime", seconds, 20, 30 * 24 * 60 * 60)?,
        None => DAY,
    };
    Ok(ServerSettings {
        id: ONLY_SERVER,
        address,
        psk,
        lifetime,
        replace_failed: raw.replace_failed,
        activation: raw.activation,
    })
}

/// The endpoint name is part of the Register's query and of the server's logs.
fn judge_endpoint(source: &ConfigSource<'_>, name: Spanned<String>) -> Result<String, ConfigError> {
    let fits = |text: &str| {
        (1..=120).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match fits(name.get_ref()) {
        true => Ok(name.into_inner()),
        false => Err(source.error(
            "endpoint",
            &name,
            "expected 1 to 120 printable ASCII characters without a space",
        )),
    }
}

/// A text that a server reads and shows.
fn judge_text(
    source: &ConfigSource<'_>,
    key: &str,
    text: Spanned<String>,
) -> Result<String, ConfigError> {
    let fits = |text: &str| {
        let is_blank = text.trim().is_empty();
        !is_blank && text.len() <= 255 && !text.chars().any(char::is_control)
    };
    match fits(text.get_ref()) {
        true => Ok(text.into_inner()),
        false => Err(source.error(
            key,
            &text,
            "expected 1 to 255 bytes of text on one line, without control characters",
        )),
    }
}

fn judge_origin(
    source: &ConfigSource<'_>,
    origin: &Spanned<String>,
) -> Result<UriOrigin, ConfigError> {
    let judged = origin.get_ref().parse();
    judged.map_err(|error: NotAnHttpOrigin| {
        source.error("credentials-over-http", origin, error.to_string())
    })
}

fn in_range<T: PartialOrd + Copy + std::fmt::Display>(
    source: &ConfigSource<'_>,
    key: &str,
    value: &Spanned<T>,
    least: T,
    most: T,
) -> Result<T, ConfigError> {
    let number = *value.get_ref();
    match (least..=most).contains(&number) {
        true => Ok(number),
        false => {
            let expected = format!("expected {least} to {most}, found {number}");
            Err(source.error(key, value, expected))
        }
    }
}

#[cfg(test)]
mod tests {
    use wharf_frames::Secret;
    use wharf_transport::Psk;

    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Root(tempfile::TempDir);

    impl Root {
        fn with(files: &[(&str, &str)]) -> Self {
            let root = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(root.0.path().join("etc/wharfd/wharfd.toml.d")).unwrap();
            root.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
            for (path, text) in files {
                root.write(&format!("etc/wharfd/{path}"), text);
            }
            root
        }

        fn write(&self, path: &str, text: &str) {
            fs::write(self.0.path().join(path), text).unwrap();
        }

        fn write_key(&self, path: &str, text: &str, mode: u32) {
            self.write(path, text);
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(self.0.path().join(path), permissions).unwrap();
        }

        fn settings(&self) -> Result<Settings, ConfigError> {
            Settings::read(self.0.path())
        }
    }

    const LOCAL: &str = "[[server]]\nuri = \"coap://127.0.0.1\"\nunprotected = true\n";

    #[test]
    fn the_smallest_file_is_enough() {
        let settings = Root::with(&[("wharfd.toml", LOCAL)]).settings().unwrap();
        assert_eq!(settings.instances, 1);
        assert_eq!(settings.max_instances, 16);
        assert_eq!(settings.parallel_downloads, 2);
        assert_eq!(settings.server.as_ref().unwrap().lifetime, 86_400);
        assert_eq!(
            settings.server.as_ref().unwrap().activation,
            Activation::Server
        );
        assert!(
            settings.endpoint.starts_with("urn:uuid:"),
            "{}",
            settings.endpoint
        );
    }

    #[test]
    fn a_later_file_overrides_an_earlier_one() {
        let root = Root::with(&[
            ("wharfd.toml", LOCAL),
            ("wharfd.toml.d/20.toml", "max-instances = 4"),
            (
                "wharfd.toml.d/10.toml",
                "max-instances = 3\nendpoint = \"gateway-17\"",
            ),
            ("wharfd.toml.d/30.bak", "nonsense"),
        ]);
        let settings = root.settings().unwrap();
        assert_eq!(settings.max_instances, 4);
        assert_eq!(settings.endpoint, "gateway-17");
    }

    #[test]
    fn downloads_run_at_once_within_bounds() {
        for (count, allowed) in [(0, false), (1, true), (16, true), (17, false)] {
            let file = format!("{LOCAL}[download]\nparallel = {count}\n");
            let settings = Root::with(&[("wharfd.toml", file.as_str())]).settings();
            let parallel = settings.ok().map(|settings| settings.parallel_downloads);
            assert_eq!(parallel, allowed.then_some(count), "{count}");
        }
    }

    #[test]
    fn a_package_may_have_an_activation_of_its_own() {
        let root = Root::with(&[
            (
                "wharfd.toml",
                "[package.hello]\nactivation = \"keep\"\n[package.\"libstdc++6\"]\nactivation = \"always\"\n\
                 [[server]]\nuri = \"coap://127.0.0.1\"\nunprotected = true\nactivation = \"always\"\n",
            ),
            (
                "wharfd.toml.d/10.toml",
                "[package.hello]\nactivation = \"server\"",
            ),
        ]);
        let settings = root.settings().unwrap();
        let of = |name: &str| settings.activations.get(&PackageName::new(name).unwrap());
        assert_eq!(of("hello"), Some(&Activation::Server));
        assert_eq!(of("libstdc++6"), Some(&Activation::Always));
        assert_eq!(of("other"), None);
    }

    #[test]
    fn manufacturer_and_model_number_are_overridden_one_by_one() {
        let first = "[device]\nmanufacturer = \"Acme\"\nmodel-number = \"Gate 7\"\n";
        let second = "[device]\nmodel-number = \"Gate 8\"\n";
        let files = [
            ("wharfd.toml", LOCAL),
            ("wharfd.toml.d/10.toml", first),
            ("wharfd.toml.d/20.toml", second),
        ];
        let of = |files: &[(&str, &str)]| Root::with(files).settings().unwrap().device;
        assert_eq!(of(&files[..1]), DeviceSettings::default());
        let expected = DeviceSettings {
            manufacturer: Some("Acme".to_owned()),
            model_number: Some("Gate 8".to_owned()),
        };
        assert_eq!(of(&files), expected);
    }

    #[test]
    fn origins_may_get_credentials_over_http_and_a_later_file_says_all_of_them() {
        let named = "[download]\ncredentials-over-http = [\"http://h:8080\", \"HTTP://I:80\"]\n";
        let mut files = vec![("wharfd.toml", LOCAL), ("wharfd.toml.d/10.toml", named)];
        let of = |files: &[(&str, &str)]| {
            let settings = Root::with(files).settings().unwrap();
            let origins = settings.credentials_over_http.into_iter();
            origins.map(|origin| origin.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(of(&files[..1]), [""; 0]);
        assert_eq!(of(&files), ["http://h:8080", "http://i"]);
        files.push(("wharfd.toml.d/20.toml", "[download]\n"));
        assert_eq!(of(&files), ["http://h:8080", "http://i"]);
        let none = "[download]\ncredentials-over-http = []\n";
        files.push(("wharfd.toml.d/30.toml", none));
        assert_eq!(of(&files), [""; 0]);
    }

    #[test]
    fn an_error_names_file_line_key_and_what_was_expected() {
        let table: &[(&str, &str, &[&str])] = &[
            (
                "\nendpont = \"x\"",
                "line 2",
                &["endpont", "expected one of", "endpoint"],
            ),
            (
                "max-instances = \"3\"",
                "line 1, column 17: max-instances: ",
                &["expected u16", "write max-instances = 16"],
            ),
            (
                "[server]\nuri = \"coap://127.0.0.1\"\n",
                "line 1, column 1: server: ",
                &["expected a sequence", "write [[server]], in two brackets"],
            ),
            (
                "[package]\nactivation = \"keep\"\n",
                "line 2, column 14: package.activation: ",
                &["write [package.NAME]"],
            ),
            (
                "max-instances = 0",
                "line 1",
                &["max-instances", "expected 1 to 256", "0"],
            ),
            (
                "[package.hello]\nactivate = \"keep\"",
                "line 2",
                &["activate", "expected `activation`"],
            ),
            (
                "[package.\"a b\"]\nactivation = \"keep\"",
                "line 1",
                &["package", "a b", "without a space"],
            ),
            (
                "endpoint = \"a b\"",
                "line 1",
                &["endpoint", "without a space"],
            ),
            (
                "\n\n[[server]]\nuri = \"http://x\"",
                "line 4",
                &["uri", "coaps://", "coap://"],
            ),
            (
                "[[server]]\nuri = \"coap://10.0.0.1\"",
                "line 2",
                &["not encrypted", "unprotected"],
            ),
            (
                "[[server]]\nuri = \"coap://127.0.0.1\"",
                "line 2",
                &["not encrypted", "any user of this machine", "unprotected"],
            ),
            ("[[server]]\n", "line 1", &["missing field", "uri"]),
            (
                "[device]\nmanufacturer = \" \"",
                "line 2",
                &["manufacturer", "expected 1 to 255"],
            ),
            (
                "[device]\n\nmodel-number = \"a\\nb\"",
                "line 3",
                &["model-number", "on one line"],
            ),
            (
                "[device]\nmodel = \"x\"",
                "line 2",
                &["model", "expected `manufacturer` or `model-number`"],
            ),
            ("[timing]\nstall = 0", "line 2", &["stall", "expected 1 to"]),
            (
                "[download]\ncredentials = true",
                "line 2",
                &[
                    "credentials",
                    "expected `parallel` or `credentials-over-http`",
                ],
            ),
            (
                "[download]\ncredentials-over-http = true",
                "line 2",
                &["invalid type", "expected a sequence"],
            ),
            (
                "[download]\ncredentials-over-http = [\n\"http://h\",\n\"https://h\"]",
                "line 4",
                &[
                    "credentials-over-http",
                    "expected http://host",
                    "https needs no entry",
                ],
            ),
            ("instances = ", "line 1", &["value"]),
            (&LOCAL.repeat(2), "line 4", &["server", "one server"]),
        ];
        for (text, line, words) in table {
            let error = Root::with(&[("wharfd.toml", text)])
                .settings()
                .unwrap_err()
                .to_string();
            for word in [&["wharfd.toml", line][..], words].concat() {
                assert!(
                    error.contains(word),
                    "{text:?}: {word:?} is not in {error:?}"
                );
            }
        }
    }

    #[test]
    fn a_server_on_a_network_may_be_unprotected_when_the_file_says_so() {
        let text = "[[server]]\nuri = \"coap://10.0.0.1\"\nunprotected = true";
        let settings = Root::with(&[("wharfd.toml", text)]).settings().unwrap();
        assert_eq!(settings.server.as_ref().unwrap().address.host(), "10.0.0.1");
    }

    const SECURE: &str = "[[server]]\nuri = \"coaps://h\"\npsk-identity = \"gateway-17\"\n";
    const KEY: &str = "000102030405060708090a0b0c0d0e0f";

    fn psk() -> Option<Psk> {
        Some(Psk::new("gateway-17", Secret::new((0..16).collect())).unwrap())
    }

    #[test]
    fn the_key_of_a_coaps_server_is_read_from_its_file() {
        let text = format!("{SECURE}psk-key-file = \"/etc/wharfd/psk\"");
        for mode in [0o600, 0o640, 0o400] {
            let root = Root::with(&[("wharfd.toml", &text)]);
            root.write_key("etc/wharfd/psk", &format!("{KEY}\n"), mode);
            let settings = root.settings().unwrap();
            assert_eq!(settings.server.as_ref().unwrap().psk, psk(), "{mode:o}");
            assert_eq!(settings.server.as_ref().unwrap().address.port(), 5684);
            assert!(!format!("{settings:?}").contains("0, 1, 2"), "{settings:?}");
        }
    }

    #[test]
    fn without_a_key_file_the_credential_is_the_key() {
        let root = Root::with(&[("wharfd.toml", SECURE)]);
        let credentials = tempfile::tempdir().unwrap();
        let read = || {
            Settings::read_at(Places {
                root: root.0.path(),
                credentials: Some(credentials.path()),
                may_be_unseen: false,
            })
        };
        let error = read().unwrap_err().to_string();
        assert!(error.contains("line 3: psk-identity"), "{error}");
        fs::write(credentials.path().join("psk"), KEY).unwrap();
        fs::set_permissions(
            credentials.path().join("psk"),
            fs::Permissions::from_mode(0o440),
        )
        .unwrap();
        assert_eq!(read().unwrap().server.unwrap().psk, psk());
    }

    #[test]
    fn a_key_that_cannot_be_used_is_told_with_its_file_and_never_shown() {
        let file = format!("{SECURE}psk-key-file = \"/etc/wharfd/psk\"");
        let clear = file.replace("coaps", "coap").replace("//h", "//127.0.0.1");
        let nameless = file.replace("psk-identity = \"gateway-17\"\n", "");
        let table: &[(&str, &str, u32, &[&str])] = &[
            (
                &file,
                KEY,
                0o644,
                &["line 4: psk-key-file", "etc/wharfd/psk", "everybody"],
            ),
            (
                &file,
                "secret word",
                0o600,
                &["line 4: psk-key-file", "hexadecimal"],
            ),
            (
                &file,
                &KEY[2..],
                0o600,
                &["line 4: psk-key-file", "16 to 64", "15"],
            ),
            (
                &file,
                &KEY.repeat(5),
                0o600,
                &["line 4: psk-key-file", "16 to 64", "80"],
            ),
            (
                &file,
                &KEY.repeat(50),
                0o600,
                &["line 4: psk-key-file", "16 to 64"],
            ),
            (
                &file.replace("/psk", "/gone"),
                KEY,
                0o600,
                &["line 4", "gone cannot be read"],
            ),
            (
                &file.replace("/psk", "/wharfd.toml.d"),
                KEY,
                0o600,
                &["line 4", "is not a regular file"],
            ),
            (
                &file.replace("gateway-17", ""),
                KEY,
                0o600,
                &["line 3: psk-identity", "1 to 128"],
            ),
            (
                SECURE,
                KEY,
                0o600,
                &["line 3: psk-identity", "psk-key-file", "credential"],
            ),
            (&nameless, KEY, 0o600, &["line 2: uri", "psk-identity"]),
            (
                &clear,
                KEY,
                0o600,
                &["line 3: psk-identity", "write coaps://"],
            ),
        ];
        for (text, key, mode, words) in table {
            let root = Root::with(&[("wharfd.toml", text)]);
            root.write_key("etc/wharfd/psk", key, *mode);
            let error = root.settings().unwrap_err().to_string();
            for word in *words {
                assert!(
                    error.contains(word),
                    "{text:?}: {word:?} is not in {error:?}"
                );
            }
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn no_file_and_no_server_is_a_configuration() {
        let settings = Root::with(&[]).settings().unwrap();
        assert_eq!(settings.server, None);
        assert_eq!(settings.server_uri(), "");
        assert_eq!(settings.instances, 1);
    }
}
