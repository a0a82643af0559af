//! The values of MESSAGE_ID: the events that an administrator can search for. systemd/wharfd.catalog explains each and
//! says what to do. A value never changes its meaning.

/// The server accepted the registration.
pub const REGISTERED: &str = "40e1a8df33e54f4697d9d244ca308da9";

/// The server rejected the registration, lost it, or does not answer.
pub const NOT_REGISTERED: &str = "2b21a2c695394fe68db1865590b8e9a0";

/// The server cannot be reached: name lookup, route or handshake failed.
pub const SERVER_NOT_REACHED: &str = "d022c7a44b2345f886a3a6586ab31dfb";

/// A configuration was rejected, and the old one stays.
pub const CONFIGURATION_REFUSED: &str = "6f98d16a2b5e47f5aa44973a374b392d";

/// The clock is earlier than the build date of wharfd.
pub const CLOCK_NOT_SET: &str = "0f053b57fcde4a9db2e3877960b59b05";

/// The database cannot be written.
pub const NOT_STORED: &str = "dd8775bbad6c4d5e90214cec00b8375c";

/// The database is of a newer wharfd, and wharfd uses an older copy.
pub const OLDER_COPY_TAKEN: &str = "8df6ff32549a4bcd8cd6cbbc5355adbc";

/// wharf-installer does not answer now.
pub const INSTALLER_NOT_REACHED: &str = "87a584d06b9048039fd8982925f2361f";

/// A request was rejected.
pub const REQUEST_REFUSED: &str = "f51d4e88f9994ad8981932ea3370d701";

/// An instance moved on: to another Update State, or with its software in place while it is INSTALLED.
pub const UNDER_WAY: &str = "cf4693db454544c19e7c7fefcd3b0cc9";

/// Software was installed.
pub const INSTALLED: &str = "90872e6aa70e48d6b6202da7e8458f00";

/// An instance was deleted.
pub const DELETED: &str = "f1d1ce462e8f4b9097159fdc31873de6";

/// Update Result 50.
pub const NO_ROOM: &str = "ed7ac4ff948d4e7a99dbf69cec9b94c2";

/// Update Result 51.
pub const OUT_OF_MEMORY: &str = "fd13e157c68344edbd99f0f5d04e4bfa";

/// Update Result 52.
pub const CONNECTION_LOST: &str = "7bd7bddbef8a4d73a9e0533e59aa23fc";

/// Update Result 53.
pub const INTEGRITY_FAILURE: &str = "6f535d9c307c46b28f39ac43dfb1f4b9";

/// Update Result 54.
pub const UNSUPPORTED_PACKAGE: &str = "7363faf340a34d988d23acea067cb102";

/// Update Result 56.
pub const INVALID_URI: &str = "83ccb73725d748fd9145e444d19bb012";

/// Update Result 57.
pub const DEVICE_REFUSED: &str = "698c8c5805864980bd7c8f6d53641b71";

/// Update Result 58.
pub const INSTALLATION_FAILED: &str = "6becf57cf148464bb5234fe31b82f9c8";

/// Update Result 59.
pub const UNINSTALLATION_FAILED: &str = "8a4e5b44aff646919450df9414d5ea3b";

/// A download is retried later.
pub const DOWNLOAD_DELAYED: &str = "65be03568eb94f29aad714209987802a";

/// wharf-fetch downloaded the whole package.
pub const FETCHED: &str = "5341fdb489704e09ba68c55e18bfc526";

/// The device had a package before wharfd managed it.
pub const ADOPTED: &str = "4a021aa51f934f0a9e3fe17e519bc1d6";

/// Software could not be activated.
pub const ACTIVATION_FAILED: &str = "1b83a996e4c14b41b9c4cc6019b35ca6";

/// The version before could not be put back.
pub const BACK_FAILED: &str = "be2fd28b86244d1baa052267268ca09a";

/// Installed software is damaged.
pub const DAMAGED: &str = "0485111171984301bc9c75941ec5a933";

/// wharf-installer verified the signature of a file.
pub const FILE_ACCEPTED: &str = "476f4e264a5c4b66a840caca519f8240";

/// wharf-installer rejected a file.
pub const FILE_REFUSED: &str = "08727f9f2f694b859d54a605774aa89f";

/// wharf-job completed a job.
pub const JOB_DONE: &str = "9594563aaf7042b2a8b2ee26749ad469";

/// A job of wharf-job failed.
pub const JOB_FAILED: &str = "aebc6c033c6e45aa86b8d203f1ea6c64";

/// wharf-job repairs an interrupted attempt.
pub const JOB_REPAIRS: &str = "c63cafef9f40469f84a31910a72ffcb6";

/// A job failed after it changed the device, and goes back.
pub const JOB_RETURNS: &str = "70c592c45e4a4f25be5eb279e07aa243";

/// A unit or service of a package is not held back until Activate.
pub const NOT_HELD_BACK: &str = "0e83f608afa44dde96c58b5432a74831";

/// Processes that a maintainer script left running were ended.
pub const DAEMONS_ENDED: &str = "2fa9b0f992e24908aaaf869a495dae36";

/// Policy allows packages without a signature.
pub const UNSIGNED_ALLOWED: &str = "882861c74c92473e91c7a1ee7c1a5791";

/// Signatures are verified at another time than the clock's.
pub const CLOCK_DOUBTED: &str = "a1e393251c7343a4a62949405f42c641";
