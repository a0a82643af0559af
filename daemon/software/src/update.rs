//! The values of Update State and Update Result (TS table 6.-2), and the Results of each state.

/// Update State, resource 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UpdateState {
    /// Before downloading (TS 5.1.2.1).
    Initial,
    /// The download has started and is on-going (TS 5.1.2.2).
    DownloadStarted,
    /// The package is written, its integrity is being checked (TS 5.1.2.3).
    Downloaded,
    /// The package is ready to be installed (TS 5.1.2.4).
    Delivered,
    /// The software is installed (TS 5.1.2.5).
    Installed,
}

impl UpdateState {
    /// All states, by value.
    pub const ALL: [Self; 5] = [
        Self::Initial,
        Self::DownloadStarted,
        Self::Downloaded,
        Self::Delivered,
        Self::Installed,
    ];

    /// The value of resource 7.
    pub const fn value(self) -> u8 {
        match self {
            Self::Initial => 0,
            Self::DownloadStarted => 1,
            Self::Downloaded => 2,
            Self::Delivered => 3,
            Self::Installed => 4,
        }
    }

    /// The state with this value.
    pub fn from_value(value: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.value() == value)
    }

    /// Its name in the TS.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initial => "INITIAL",
            Self::DownloadStarted => "DOWNLOAD STARTED",
            Self::Downloaded => "DOWNLOADED",
            Self::Delivered => "DELIVERED",
            Self::Installed => "INSTALLED",
        }
    }
}

/// Update Result, resource 9. The value 3 is never sent (table 5.1.1-1 gives DELIVERED the initial value).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UpdateResult {
    /// 0: the initial value.
    Initial,
    /// 1: the package is being downloaded.
    Downloading,
    /// 2: the software is installed.
    Installed,
    /// 50: not enough storage for the package.
    NotEnoughStorage,
    /// 51: out of memory while downloading.
    OutOfMemory,
    /// 52: the connection was lost while downloading.
    ConnectionLost,
    /// 53: the integrity check failed.
    IntegrityFailure,
    /// 54: not a package that this system can install.
    UnsupportedPackage,
    /// 56: the URI is invalid.
    InvalidUri,
    /// 57: an error that the device defines: its policy or the origin refused.
    DeviceDefined,
    /// 58: the installation failed.
    InstallationFailure,
    /// 59: the removal failed.
    UninstallationFailure,
}

impl UpdateResult {
    /// All results, by value.
    pub const ALL: [Self; 12] = [
        Self::Initial,
        Self::Downloading,
        Self::Installed,
        Self::NotEnoughStorage,
        Self::OutOfMemory,
        Self::ConnectionLost,
        Self::IntegrityFailure,
        Self::UnsupportedPackage,
        Self::InvalidUri,
        Self::DeviceDefined,
        Self::InstallationFailure,
        Self::UninstallationFailure,
    ];

    /// The value of resource 9.
    pub const fn value(self) -> u8 {
        match self {
            Self::Initial => 0,
            Self::Downloading => 1,
            Self::Installed => 2,
            Self::NotEnoughStorage => 50,
            Self::OutOfMemory => 51,
            Self::ConnectionLost => 52,
            Self::IntegrityFailure => 53,
            Self::UnsupportedPackage => 54,
            Self::InvalidUri => 56,
            Self::DeviceDefined => 57,
            Self::InstallationFailure => 58,
            Self::UninstallationFailure => 59,
        }
    }

    /// The result with this value.
    pub fn from_value(value: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|result| result.value() == value)
    }

    /// Whether a failed download may end with it in INITIAL.
    pub const fn ends_a_download(self) -> bool {
        matches!(
            self,
            Self::NotEnoughStorage
                | Self::OutOfMemory
                | Self::ConnectionLost
                | Self::IntegrityFailure
                | Self::UnsupportedPackage
                | Self::InvalidUri
                | Self::DeviceDefined
        )
    }

    /// Whether a failed removal may end with it in INSTALLED.
    pub const fn ends_a_removal(self) -> bool {
        matches!(self, Self::DeviceDefined | Self::UninstallationFailure)
    }

    /// Whether a failed installation may end with it in DELIVERED.
    pub const fn ends_an_installation(self) -> bool {
        matches!(
            self,
            Self::NotEnoughStorage
                | Self::IntegrityFailure
                | Self::UnsupportedPackage
                | Self::DeviceDefined
                | Self::InstallationFailure
        )
    }
}
