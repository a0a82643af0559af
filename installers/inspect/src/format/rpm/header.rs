//! The header structure of an .rpm (docs/manual/format_header.md of rpm), taken strictly: the region is the whole header,
//! so each byte that is read here is a byte that a signature over the region covers, and rpm finds the same value for each
//! tag. Tags ascend, so none occurs twice; data ascends, so no two entries share a byte.

use std::ops::Range;

/// The bytes in front of the index: magic, a version, four zeros, the number of entries, the length of the data.
pub(super) const INTRO: u64 = 16;

const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];

/// The length of an entry of the index, and of the trailer of a region.
const ENTRY: usize = 16;

/// Tags below this belong to regions and to the table of locales.
const FIRST_TAG: u32 = 100;

/// As many elements as rpm allows an array of anything but bytes.
const MAX_ELEMENTS: u32 = 0x000f_ffff;

/// One of the two headers of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderKind {
    /// The signature header, which no signature covers.
    Signature,
    /// The header with the package's data.
    Immutable,
}

impl HeaderKind {
    /// The tag of its region.
    fn region(self) -> u32 {
        match self {
            Self::Signature => 62,
            Self::Immutable => 63,
        }
    }

    /// The most entries: as many as rpm allows.
    fn max_entries(self) -> u32 {
        match self {
            Self::Signature => 32,
            Self::Immutable => 0xffff,
        }
    }

    /// The most bytes of data. rpm allows 64 and 256 MiB; a package of 100,000 files has 16 MiB, and as much again where
    /// each file has a signature of its own.
    fn max_data(self) -> u32 {
        match self {
            Self::Signature => 16 * 1024 * 1024,
            Self::Immutable => 32 * 1024 * 1024,
        }
    }
}

/// A header that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The file ends within it.
    #[error("the file ends within it")]
    Short,
    /// It begins with other bytes.
    #[error("it does not begin as a header")]
    Magic,
    /// More entries than are allowed, or none.
    #[error("it has {0} entries; 1 to {1} are allowed")]
    Entries(u32, u32),
    /// More data than is allowed.
    #[error("it has {0} bytes of data; at most {1} are allowed")]
    Data(u32, u32),
    /// Its first entry, or the trailer that it points at, is not the region of the whole header.
    #[error("its region is not the whole header")]
    Region,
    /// The tag is not higher than the one before.
    #[error("the tag {0} is out of order, or occurs twice")]
    Order(u32),
    /// The type is unknown.
    #[error("the tag {0} has the unknown type {1}")]
    Type(u32, u32),
    /// No element, or too many.
    #[error("the tag {0} has {1} elements")]
    Count(u32, u32),
    /// The data begins before the end of other data, at the wrong alignment, or ends behind the end of the header.
    #[error("the data of the tag {0} lies outside of its place")]
    Place(u32),
    /// The tag is missing.
    #[error("the tag {0} is missing")]
    Missing(u32),
    /// Too many signatures, or too long ones.
    #[error("the signatures in it are too many or too long")]
    Signatures,
    /// The tag has another type than it should have, or another number of elements.
    #[error("the tag {0} has another type or number of elements than it should have")]
    Wrong(u32),
}

/// The type of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Char,
    Int8,
    Int16,
    Int32,
    Int64,
    Text,
    Binary,
    TextArray,
    Translated,
}

impl Type {
    fn of(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Char,
            2 => Self::Int8,
            3 => Self::Int16,
            4 => Self::Int32,
            5 => Self::Int64,
            6 => Self::Text,
            7 => Self::Binary,
            8 => Self::TextArray,
            9 => Self::Translated,
            _ => return None,
        })
    }

    /// The size of an element, which is its alignment too; none for text.
    fn size(self) -> Option<usize> {
        Some(match self {
            Self::Char | Self::Int8 | Self::Binary => 1,
            Self::Int16 => 2,
            Self::Int32 => 4,
            Self::Int64 => 8,
            Self::Text | Self::TextArray | Self::Translated => return None,
        })
    }

    fn may_have(self, count: u32) -> bool {
        match self {
            Self::Text => count == 1,
            Self::Binary => count > 0,
            _ => (1..=MAX_ELEMENTS).contains(&count),
        }
    }
}

/// An entry of the index, whose data is within the header.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    tag: u32,
    kind: Type,
    data: Range<usize>,
}

/// A header that could be read in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    entries: Vec<Entry>,
    data: Vec<u8>,
}

/// The length of a header with this intro, intro included.
pub fn length(intro: &[u8], kind: HeaderKind) -> Result<u64, HeaderError> {
    let (entries, data) = lengths(intro, kind)?;
    Ok(INTRO + u64::from(entries) * ENTRY as u64 + u64::from(data))
}

fn lengths(intro: &[u8], kind: HeaderKind) -> Result<(u32, u32), HeaderError> {
    let (magic, rest) = intro.split_at_checked(8).ok_or(HeaderError::Short)?;
    if magic != MAGIC {
        return Err(HeaderError::Magic);
    }
    let [entries, data] = numbers(rest).ok_or(HeaderError::Short)?;
    if !(1..=kind.max_entries()).contains(&entries) {
        return Err(HeaderError::Entries(entries, kind.max_entries()));
    }
    if data > kind.max_data() {
        return Err(HeaderError::Data(data, kind.max_data()));
    }
    Ok((entries, data))
}

impl Header {
    /// Parses all bytes of a header.
    pub fn parse(bytes: &[u8], kind: HeaderKind) -> Result<Self, HeaderError> {
        let (count, length) = lengths(bytes, kind)?;
        let (count, length) = (count as usize, length as usize);
        let rest = bytes.get(INTRO as usize..).ok_or(HeaderError::Short)?;
        let (index, data) = rest
            .split_at_checked(count * ENTRY)
            .filter(|(_, data)| data.len() == length)
            .ok_or(HeaderError::Short)?;
        let (first, index) = index.split_at_checked(ENTRY).ok_or(HeaderError::Region)?;
        let end = end_of_region(first, data, count, kind).ok_or(HeaderError::Region)?;
        let data = data.get(..end).ok_or(HeaderError::Region)?;
        let (mut tag, mut position) = (FIRST_TAG - 1, 0);
        let entries = index.chunks_exact(ENTRY).map(|bytes| {
            let entry = Entry::parse(bytes, data, tag, position)?;
            (tag, position) = (entry.tag, entry.data.end);
            Ok(entry)
        });
        let entries = entries.collect::<Result<_, _>>()?;
        let data = data.to_vec();
        Ok(Self { entries, data })
    }

    /// Whether the tag is there.
    pub(super) fn has(&self, tag: u32) -> bool {
        self.entry(tag).is_some()
    }

    /// The text of a tag.
    pub(super) fn text(&self, tag: u32) -> Result<Option<&[u8]>, HeaderError> {
        let Some(texts) = self.texts_of(tag, Type::Text)? else {
            return Ok(None);
        };
        texts
            .into_iter()
            .next()
            .map(Some)
            .ok_or(HeaderError::Wrong(tag))
    }

    /// The texts of a tag, in their order.
    pub(super) fn texts(&self, tag: u32) -> Result<Option<Vec<&[u8]>>, HeaderError> {
        self.texts_of(tag, Type::TextArray)
    }

    /// The bytes of a tag.
    pub(super) fn binary(&self, tag: u32) -> Result<Option<&[u8]>, HeaderError> {
        self.data_of(tag, Type::Binary)
    }

    /// The number of a tag that has one.
    pub(super) fn int32(&self, tag: u32) -> Result<Option<u32>, HeaderError> {
        one(tag, self.int32s(tag)?)
    }

    /// The 64-bit number of a tag that has one.
    pub(super) fn int64(&self, tag: u32) -> Result<Option<u64>, HeaderError> {
        one(tag, self.int64s(tag)?)
    }

    /// The 16-bit numbers of a tag.
    pub(super) fn int16s(&self, tag: u32) -> Result<Option<Vec<u16>>, HeaderError> {
        self.numbers(tag, Type::Int16, u16::from_be_bytes)
    }

    /// The numbers of a tag.
    pub(super) fn int32s(&self, tag: u32) -> Result<Option<Vec<u32>>, HeaderError> {
        self.numbers(tag, Type::Int32, u32::from_be_bytes)
    }

    /// The 64-bit numbers of a tag.
    pub(super) fn int64s(&self, tag: u32) -> Result<Option<Vec<u64>>, HeaderError> {
        self.numbers(tag, Type::Int64, u64::from_be_bytes)
    }

    fn numbers<T, const N: usize>(
        &self,
        tag: u32,
        kind: Type,
        number: fn([u8; N]) -> T,
    ) -> Result<Option<Vec<T>>, HeaderError> {
        let data = self.data_of(tag, kind)?;
        let numbers = |data: &[u8]| data.as_chunks().0.iter().copied().map(number).collect();
        Ok(data.map(numbers))
    }

    fn entry(&self, tag: u32) -> Option<&Entry> {
        let found = self.entries.binary_search_by_key(&tag, |entry| entry.tag);
        found.ok().and_then(|at| self.entries.get(at))
    }

    fn data_of(&self, tag: u32, kind: Type) -> Result<Option<&[u8]>, HeaderError> {
        let Some(entry) = self.entry(tag) else {
            return Ok(None);
        };
        match self.data.get(entry.data.clone()) {
            Some(data) if entry.kind == kind => Ok(Some(data)),
            _ => Err(HeaderError::Wrong(tag)),
        }
    }

    fn texts_of(&self, tag: u32, kind: Type) -> Result<Option<Vec<&[u8]>>, HeaderError> {
        let data = self.data_of(tag, kind)?;
        // The last one has its zero at the end of the data.
        Ok(data.map(|data| {
            data.strip_suffix(&[0])
                .unwrap_or(data)
                .split(|&byte| byte == 0)
                .collect()
        }))
    }
}

impl Entry {
    /// An entry whose tag is higher than the last one, and whose data begins at this position of the data or behind it.
    fn parse(bytes: &[u8], data: &[u8], last: u32, position: usize) -> Result<Self, HeaderError> {
        let [tag, kind, offset, count] = numbers(bytes).ok_or(HeaderError::Short)?;
        if tag <= last {
            return Err(HeaderError::Order(tag));
        }
        let kind = Type::of(kind).ok_or(HeaderError::Type(tag, kind))?;
        if !kind.may_have(count) {
            return Err(HeaderError::Count(tag, count));
        }
        let (start, count) = (offset as usize, count as usize);
        let rest = data.get(start..).filter(|_| start >= position);
        let length = rest.and_then(|rest| match kind.size() {
            Some(size) => size
                .checked_mul(count)
                .filter(|&length| length <= rest.len() && start % size == 0),
            None => length_of_texts(rest, count),
        });
        let length = length.ok_or(HeaderError::Place(tag))?;
        Ok(Self {
            tag,
            kind,
            data: start..start + length,
        })
    }
}

/// The end of the data: where the trailer of a region of this many entries stands, which ends the header.
fn end_of_region(first: &[u8], data: &[u8], entries: usize, kind: HeaderKind) -> Option<usize> {
    let size = ENTRY as u32;
    let [tag, binary, offset, count] = numbers(first)?;
    let end = data.len().checked_sub(ENTRY)?;
    let trailer: [u32; 4] = numbers(data.get(end..)?)?;
    let extent = u32::try_from(entries).ok()?.checked_mul(size)?;
    let region = kind.region();
    let whole = [tag, binary, count] == [region, 7, size]
        && offset as usize == end
        && trailer == [region, 7, extent.wrapping_neg(), size];
    whole.then_some(end)
}

/// The length of so many texts, each with the zero that ends it.
fn length_of_texts(data: &[u8], count: usize) -> Option<usize> {
    let mut zeros = data.iter().enumerate().filter(|(_, byte)| **byte == 0);
    let last = zeros.nth(count.checked_sub(1)?)?;
    Some(last.0 + 1)
}

fn one<T>(tag: u32, numbers: Option<Vec<T>>) -> Result<Option<T>, HeaderError> {
    let mut numbers = numbers.into_iter().flatten();
    match (numbers.next(), numbers.next()) {
        (number, None) => Ok(number),
        _ => Err(HeaderError::Wrong(tag)),
    }
}

fn numbers<const N: usize>(bytes: &[u8]) -> Option<[u32; N]> {
    let (chunks, _) = bytes.as_chunks();
    let numbers = chunks.get(..N)?.iter().map(|&it| u32::from_be_bytes(it));
    numbers.collect::<Vec<_>>().try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::format::rpm::made::{self, Made};

    fn sound() -> Vec<Made> {
        vec![
            made::text(1000, "hello"),
            made::int32s(1003, &[7]),
            made::int16s(1030, &[1, 2, 3]),
            made::int64s(1050, &[u64::MAX]),
            made::binary(1060, &[1, 0, 2]),
            made::texts(1117, &["a", "", "c"]),
        ]
    }

    fn parse(entries: &[Made]) -> Result<Header, HeaderError> {
        Header::parse(
            &made::bytes(HeaderKind::Immutable, entries),
            HeaderKind::Immutable,
        )
    }

    /// With one number of the intro or the index changed: 0 is the number of entries, 1 the length of the data, then
    /// each entry has four.
    fn with_number(at: usize, change: fn(u32) -> u32) -> Result<Header, HeaderError> {
        let mut bytes = made::bytes(HeaderKind::Immutable, &sound());
        let place = &mut bytes[8 + at * 4..][..4];
        let number = change(u32::from_be_bytes(place.try_into().unwrap()));
        place.copy_from_slice(&number.to_be_bytes());
        Header::parse(&bytes, HeaderKind::Immutable)
    }

    #[test]
    fn each_tag_has_the_value_of_its_entry() {
        let header = parse(&sound()).unwrap();
        assert_eq!(header.text(1000), Ok(Some(&b"hello"[..])));
        assert_eq!(header.int32(1003), Ok(Some(7)));
        assert_eq!(header.int16s(1030), Ok(Some(vec![1, 2, 3])));
        assert_eq!(header.int64(1050), Ok(Some(u64::MAX)));
        assert_eq!(header.binary(1060), Ok(Some(&[1, 0, 2][..])));
        assert_eq!(header.texts(1117), Ok(Some(vec![&b"a"[..], b"", b"c"])));
        assert!(header.has(1003) && !header.has(1004) && !header.has(63));
        assert_eq!(header.text(1004), Ok(None));
    }

    #[test]
    fn a_tag_of_another_type_or_number_of_elements_is_wrong() {
        let header = parse(&sound()).unwrap();
        assert_eq!(header.text(1003), Err(HeaderError::Wrong(1003)));
        assert_eq!(header.text(1117), Err(HeaderError::Wrong(1117)));
        assert_eq!(header.texts(1000), Err(HeaderError::Wrong(1000)));
        assert_eq!(header.int32s(1030), Err(HeaderError::Wrong(1030)));
        assert_eq!(header.int64(1003), Err(HeaderError::Wrong(1003)));
        assert_eq!(header.binary(1000), Err(HeaderError::Wrong(1000)));
        let two = parse(&[made::int32s(1003, &[1, 2])]).unwrap();
        assert_eq!(two.int32(1003), Err(HeaderError::Wrong(1003)));
    }

    #[test]
    fn a_header_that_rpm_could_read_in_another_way_is_refused() {
        use HeaderError as E;
        let swapped = {
            let mut entries = sound();
            entries.swap(0, 1);
            parse(&entries)
        };
        let twice = {
            let mut entries = sound();
            entries.insert(1, made::text(1000, "other"));
            parse(&entries)
        };
        let text = |count, data: &[u8]| parse(&[(1000, 6, count, data.to_vec())]);
        let array = |count, data: &[u8]| parse(&[(1000, 8, count, data.to_vec())]);
        for (what, got, expected) in [
            ("out of order", swapped, E::Order(1000)),
            ("a tag twice", twice, E::Order(1000)),
            ("a low tag", parse(&[made::text(99, "x")]), E::Order(99)),
            (
                "another region",
                parse(&[made::text(63, "x")]),
                E::Order(63),
            ),
            ("type 0", parse(&[(1000, 0, 1, vec![0])]), E::Type(1000, 0)),
            (
                "type 10",
                parse(&[(1000, 10, 1, vec![0])]),
                E::Type(1000, 10),
            ),
            (
                "no elements",
                parse(&[(1000, 4, 0, vec![])]),
                E::Count(1000, 0),
            ),
            (
                "no bytes",
                parse(&[(1000, 7, 0, vec![])]),
                E::Count(1000, 0),
            ),
            ("two texts as one", text(2, b"a\0b\0"), E::Count(1000, 2)),
            (
                "a million texts",
                array(0x10_0000, &[0; 0x10_0000]),
                E::Count(1000, 0x10_0000),
            ),
            ("an open text", text(1, b"abc"), E::Place(1000)),
            ("open texts", array(2, b"a\0b"), E::Place(1000)),
            (
                "fewer numbers",
                parse(&[(1000, 4, 2, vec![0; 4])]),
                E::Place(1000),
            ),
            (
                "huge numbers",
                parse(&[(1000, 5, 0xf_ffff, vec![0; 8])]),
                E::Place(1000),
            ),
            (
                "huge bytes",
                parse(&[(1000, 7, u32::MAX, vec![0; 8])]),
                E::Place(1000),
            ),
            ("no entries", with_number(0, |_| 0), E::Entries(0, 0xffff)),
            (
                "many entries",
                with_number(0, |_| 0x1_0000),
                E::Entries(0x1_0000, 0xffff),
            ),
            ("more entries", with_number(0, |it| it + 1), E::Short),
            ("fewer entries", with_number(0, |it| it - 1), E::Short),
            (
                "much data",
                with_number(1, |_| 0x0200_0001),
                E::Data(0x0200_0001, 0x0200_0000),
            ),
            ("more data", with_number(1, |it| it + 1), E::Short),
            ("less data", with_number(1, |it| it - 1), E::Short),
            ("the signature's region", with_number(2, |_| 62), E::Region),
            ("a region of text", with_number(3, |_| 6), E::Region),
            (
                "a region further in front",
                with_number(4, |it| it - 16),
                E::Region,
            ),
            ("a region behind", with_number(4, |it| it + 1), E::Region),
            ("a long trailer", with_number(5, |_| 32), E::Region),
            ("overlap", with_number(12, |it| it - 4), E::Place(1003)),
            (
                "wrong alignment",
                with_number(12, |it| it + 1),
                E::Place(1003),
            ),
            (
                "a negative offset",
                with_number(12, |_| u32::MAX - 3),
                E::Place(1003),
            ),
            (
                "data in the trailer",
                with_number(28, |it| it + 3),
                E::Place(1117),
            ),
        ] {
            assert_eq!(got, Err(expected), "{what}");
        }
    }

    #[test]
    fn a_region_of_a_part_of_the_header_is_refused() {
        let bytes = made::bytes(HeaderKind::Immutable, &sound());
        let trailer = bytes.len() - 16;
        for (position, byte) in [(3, 62), (7, 6), (11, 0xa0), (11, 0x80), (8, 0), (15, 15)] {
            let mut changed = bytes.clone();
            changed[trailer + position] = byte;
            let got = Header::parse(&changed, HeaderKind::Immutable);
            assert_eq!(got, Err(HeaderError::Region), "{byte} at {position}");
        }
        // An entry behind the region, as rpm's database has them.
        let mut longer = bytes.clone();
        longer.splice(16 + 7 * 16..16 + 7 * 16, made_entry(1118, 7, 200, 1));
        longer[11] += 1;
        let got = Header::parse(&longer, HeaderKind::Immutable);
        assert_eq!(got, Err(HeaderError::Region));
        let only = |kind| Header::parse(&made::bytes(kind, &[]), kind).map(|_| ());
        assert_eq!(only(HeaderKind::Immutable), Ok(()));
        assert_eq!(only(HeaderKind::Signature), Ok(()));
    }

    fn made_entry(tag: u32, kind: u32, offset: u32, count: u32) -> Vec<u8> {
        [tag, kind, offset, count].map(u32::to_be_bytes).concat()
    }

    #[test]
    fn the_signature_header_has_its_own_region_and_limits() {
        let entries: Vec<_> = (0..31).map(|at| made::int32s(1000 + at, &[at])).collect();
        let bytes = made::bytes(HeaderKind::Signature, &entries);
        Header::parse(&bytes, HeaderKind::Signature).unwrap();
        let other = Header::parse(&bytes, HeaderKind::Immutable);
        assert_eq!(other, Err(HeaderError::Region));
        let entries: Vec<_> = (0..32).map(|at| made::int32s(1000 + at, &[at])).collect();
        let bytes = made::bytes(HeaderKind::Signature, &entries);
        let many = Header::parse(&bytes, HeaderKind::Signature);
        assert_eq!(many, Err(HeaderError::Entries(33, 32)));
    }

    #[test]
    fn the_intro_is_checked_before_the_rest_is_read() {
        let bytes = made::bytes(HeaderKind::Immutable, &sound());
        assert_eq!(
            length(&bytes[..16], HeaderKind::Immutable),
            Ok(bytes.len() as u64)
        );
        for at in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let got = length(&changed[..16], HeaderKind::Immutable);
            assert_eq!(got, Err(HeaderError::Magic), "{at}");
        }
        for short in 0..16 {
            let got = length(&bytes[..short], HeaderKind::Immutable);
            assert_eq!(got, Err(HeaderError::Short), "{short}");
        }
    }

    fn entries() -> impl Strategy<Value = Vec<Made>> {
        let entry = prop_oneof![
            "[a-z]{0,9}".prop_map(|text| made::text(0, &text)),
            vec("[a-z]{0,5}", 1..5).prop_map(|texts| {
                let texts: Vec<_> = texts.iter().map(String::as_str).collect();
                made::texts(0, &texts)
            }),
            vec(any::<u8>(), 1..20).prop_map(|bytes| made::binary(0, &bytes)),
            vec(any::<u16>(), 1..5).prop_map(|numbers| made::int16s(0, &numbers)),
            vec(any::<u32>(), 1..5).prop_map(|numbers| made::int32s(0, &numbers)),
            vec(any::<u64>(), 1..5).prop_map(|numbers| made::int64s(0, &numbers)),
        ];
        vec(entry, 0..20).prop_map(|mut entries| {
            let numbered = entries.iter_mut().zip(1000..);
            numbered.for_each(|(entry, tag)| entry.0 = tag);
            entries
        })
    }

    proptest! {
        #[test]
        fn each_entry_comes_back_as_it_was_made(entries in entries()) {
            let header = parse(&entries).unwrap();
            for (tag, kind, _, data) in &entries {
                let kind = Type::of(*kind).unwrap();
                prop_assert_eq!(header.data_of(*tag, kind), Ok(Some(&data[..])));
            }
        }

        /// An accepted header has one entry for a tag, and each byte in one entry.
        #[test]
        fn a_changed_header_is_refused_or_has_its_entries_apart(
            entries in entries(),
            changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = made::bytes(HeaderKind::Immutable, &entries);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(header) = Header::parse(&bytes, HeaderKind::Immutable) {
                for pair in header.entries.windows(2) {
                    prop_assert!(pair[0].tag < pair[1].tag);
                    prop_assert!(pair[0].data.end <= pair[1].data.start);
                }
                let end = header.entries.last().map_or(0, |entry| entry.data.end);
                prop_assert!(end <= header.data.len());
                prop_assert_eq!(header.entries.len(), entries.len());
            }
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_refused(rest: Vec<u8>) {
            for kind in [HeaderKind::Signature, HeaderKind::Immutable] {
                let _ = Header::parse(&rest, kind);
                let _ = Header::parse(&[&MAGIC, &rest[..]].concat(), kind);
            }
        }
    }
}
