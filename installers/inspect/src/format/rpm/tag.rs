//! The tags that are read (include/rpm/rpmtag.h of rpm).

// Of the signature header.
pub(super) const SIGNATURE_DSA: u32 = 267; // EdDSA too
pub(super) const SIGNATURE_RSA: u32 = 268;
pub(super) const SIGNATURE_LONG_SIZE: u32 = 270;
pub(super) const SIGNATURE_HEADER_SHA256: u32 = 273;
pub(super) const SIGNATURE_OPENPGP: u32 = 278; // each in base64
pub(super) const SIGNATURE_SIZE: u32 = 1000;

// Of the immutable header.
pub(super) const NAME: u32 = 1000;
pub(super) const VERSION: u32 = 1001;
pub(super) const RELEASE: u32 = 1002;
pub(super) const EPOCH: u32 = 1003;
pub(super) const ARCHITECTURE: u32 = 1022;
pub(super) const FILE_SIZES: u32 = 1028;
pub(super) const FILE_MODES: u32 = 1030;
pub(super) const FILE_LINK_TARGETS: u32 = 1036;
pub(super) const FILE_FLAGS: u32 = 1037;
pub(super) const SOURCE_RPM: u32 = 1044;
pub(super) const FILE_DEVICES: u32 = 1095;
pub(super) const FILE_INODES: u32 = 1096;
pub(super) const SOURCE_PACKAGE: u32 = 1106;
pub(super) const FOLDER_INDEXES: u32 = 1116;
pub(super) const BASE_NAMES: u32 = 1117;
pub(super) const FOLDER_NAMES: u32 = 1118;
pub(super) const PAYLOAD_FORMAT: u32 = 1124;
pub(super) const PAYLOAD_COMPRESSOR: u32 = 1125;
pub(super) const LONG_FILE_SIZES: u32 = 5008;
pub(super) const PAYLOAD_SHA256: u32 = 5092;
pub(super) const PAYLOAD_DIGEST_ALGORITHM: u32 = 5093;
pub(super) const PAYLOAD_SIZE: u32 = 5112;
pub(super) const FORMAT: u32 = 5114;
