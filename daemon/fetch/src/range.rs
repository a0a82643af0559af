//! Resuming a download: the request (RFC 9110 13.1.5, 14.2), and the meaning of a response (14.4, 15.3.7,
//! 15.5.17). Pure.

use reqwest::{
    StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED},
};
use wharf_frames::fetch::{Resume, Validator};

/// The longest accepted validator, since wharfd stores it.
const MAX_VALIDATOR: usize = 256;

/// The meaning of a response for the bytes in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeAnswer {
    /// The body is the whole package.
    Whole {
        /// The length of the package, if known.
        total: Option<u64>,
    },
    /// The body continues after the bytes in the file.
    Rest {
        /// The length of the whole package, if known.
        total: Option<u64>,
    },
    /// The file already has the whole package.
    Nothing,
}

/// The reason why a response cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// The body does not fit the bytes in the file. The package must be requested from byte 0.
    Misfit,
    /// The response has no part of the package.
    Refusal,
}

/// Interprets the status and the fields of a response.
pub fn answer(
    asked: Option<&Resume>,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<RangeAnswer, NoAnswer> {
    let total = || content_length(headers);
    match (status, asked) {
        (StatusCode::OK, _) => Ok(RangeAnswer::Whole { total: total() }),
        (StatusCode::PARTIAL_CONTENT, Some(asked)) => part(asked, headers),
        (StatusCode::RANGE_NOT_SATISFIABLE, Some(asked)) => unsatisfiable(asked, headers),
        _ => Err(NoAnswer::Refusal),
    }
}

/// Interprets a 206. Another validator shows that the origin ignored If-Range.
fn part(asked: &Resume, headers: &HeaderMap) -> Result<RangeAnswer, NoAnswer> {
    let same = match &asked.validator {
        Validator::ETag(etag) => same_or_absent(headers, &ETAG, etag),
        Validator::LastModified(date) => same_or_absent(headers, &LAST_MODIFIED, date),
    };
    match text(headers, &CONTENT_RANGE).and_then(ContentRange::parse) {
        Some(ContentRange::Part { first, total, .. }) if same && first == asked.offset => {
            Ok(RangeAnswer::Rest { total })
        }
        _ => Err(NoAnswer::Misfit),
    }
}

/// Interprets a 416. At the exact end of the package the file is complete. A changed package would give a 200.
fn unsatisfiable(asked: &Resume, headers: &HeaderMap) -> Result<RangeAnswer, NoAnswer> {
    match text(headers, &CONTENT_RANGE).and_then(ContentRange::parse) {
        Some(ContentRange::Unsatisfied { total }) if total == asked.offset => {
            Ok(RangeAnswer::Nothing)
        }
        _ => Err(NoAnswer::Misfit),
    }
}

/// The validator to resume with. A weak entity tag is not fit for it (RFC 9110 8.8.1, 13.1.5).
pub fn validator(headers: &HeaderMap) -> Option<Validator> {
    let etag = text(headers, &ETAG).filter(|etag| is_strong(etag));
    let date =
        || text(headers, &LAST_MODIFIED).filter(|date| httpdate::parse_http_date(date).is_ok());
    etag.map(|etag| Validator::ETag(etag.to_owned()))
        .or_else(|| date().map(|date| Validator::LastModified(date.to_owned())))
}

fn is_strong(etag: &str) -> bool {
    let inner = etag
        .strip_prefix('"')
        .and_then(|etag| etag.strip_suffix('"'));
    inner.is_some_and(|inner| !inner.contains('"'))
}

fn same_or_absent(headers: &HeaderMap, name: &HeaderName, expected: &str) -> bool {
    headers.get(name).is_none_or(|value| value == expected)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, &CONTENT_LENGTH).and_then(digits)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    (value.len() <= MAX_VALIDATOR).then_some(value)
}

/// A Content-Range in bytes (RFC 9110 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentRange {
    /// `bytes first-last/total`, or `/*`.
    Part {
        /// The first byte of the body.
        first: u64,
        /// The last byte of the body.
        last: u64,
        /// The length of the package.
        total: Option<u64>,
    },
    /// `bytes */total`.
    Unsatisfied {
        /// The length of the package.
        total: u64,
    },
}

impl ContentRange {
    /// Parses the value. `None` if it is invalid or contradictory.
    pub fn parse(value: &str) -> Option<Self> {
        let (unit, range) = value.split_once(' ')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        match range.split_once('/')? {
            ("*", total) => digits(total).map(|total| Self::Unsatisfied { total }),
            (part, total) => {
                let (first, last) = part.split_once('-')?;
                let (first, last) = (digits(first)?, digits(last)?);
                let total = if total == "*" {
                    None
                } else {
                    Some(digits(total)?)
                };
                let sound = first <= last && total.is_none_or(|total| last < total);
                sound.then_some(Self::Part { first, last, total })
            }
        }
    }
}

/// Parses digits only, since `u64::from_str` accepts a sign.
pub(crate) fn digits(text: &str) -> Option<u64> {
    let all = text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect()
    }

    fn resume(offset: u64) -> Resume {
        Resume {
            offset,
            validator: Validator::ETag("\"a\"".into()),
        }
    }

    fn to(status: u16, fields: &[(HeaderName, &str)]) -> Result<RangeAnswer, NoAnswer> {
        answer(
            Some(&resume(5)),
            StatusCode::from_u16(status).unwrap(),
            &headers(fields),
        )
    }

    #[test]
    fn resumes_only_at_the_requested_offset() {
        let rest = |total| Ok(RangeAnswer::Rest { total });
        let part = |range| to(206, &[(CONTENT_RANGE, range)]);
        assert_eq!(part("bytes 5-9/10"), rest(Some(10)));
        assert_eq!(part("bytes 5-9/*"), rest(None));
        for other in [
            "bytes 4-9/10",
            "bytes 6-9/10",
            "bytes */10",
            "lines 5-9/10",
            "",
            "bytes 5-9",
        ] {
            assert_eq!(part(other), Err(NoAnswer::Misfit), "{other:?}");
        }
        assert_eq!(to(206, &[]), Err(NoAnswer::Misfit));
    }

    #[test]
    fn another_validator_in_a_part_means_other_bytes() {
        let part = |etag| to(206, &[(CONTENT_RANGE, "bytes 5-9/10"), (ETAG, etag)]);
        assert_eq!(part("\"a\""), Ok(RangeAnswer::Rest { total: Some(10) }));
        assert_eq!(part("\"b\""), Err(NoAnswer::Misfit));
    }

    #[test]
    fn a_416_means_a_complete_file_only_at_the_exact_end() {
        let unsatisfied = |range| to(416, &[(CONTENT_RANGE, range)]);
        assert_eq!(unsatisfied("bytes */5"), Ok(RangeAnswer::Nothing));
        assert_eq!(unsatisfied("bytes */4"), Err(NoAnswer::Misfit));
        assert_eq!(to(416, &[]), Err(NoAnswer::Misfit));
    }

    #[test]
    fn an_unrequested_part_is_rejected() {
        let fields = headers(&[(CONTENT_RANGE, "bytes 0-9/10")]);
        assert_eq!(
            answer(None, StatusCode::PARTIAL_CONTENT, &fields),
            Err(NoAnswer::Refusal)
        );
        assert_eq!(
            answer(None, StatusCode::RANGE_NOT_SATISFIABLE, &fields),
            Err(NoAnswer::Refusal)
        );
        assert_eq!(to(204, &[]), Err(NoAnswer::Refusal));
    }

    #[test]
    fn the_whole_may_come_without_a_length() {
        assert_eq!(to(200, &[]), Ok(RangeAnswer::Whole { total: None }));
        assert_eq!(
            to(200, &[(CONTENT_LENGTH, "10")]),
            Ok(RangeAnswer::Whole { total: Some(10) })
        );
    }

    #[test]
    fn only_a_strong_entity_tag_or_a_date_recognises_bytes() {
        let long = format!("\"{}\"", "x".repeat(MAX_VALIDATOR));
        let etag = |etag: &str| Some(Validator::ETag(etag.to_owned()));
        let date = Some(Validator::LastModified(DATE.to_owned()));
        for (fields, expected) in [
            (headers(&[(ETAG, "\"a\"")]), etag("\"a\"")),
            (
                headers(&[(ETAG, "\"a\""), (LAST_MODIFIED, DATE)]),
                etag("\"a\""),
            ),
            (headers(&[(ETAG, "W/\"a\""), (LAST_MODIFIED, DATE)]), date),
            (headers(&[(ETAG, "W/\"a\"")]), None),
            (headers(&[(ETAG, "a")]), None),
            (headers(&[(ETAG, &long)]), None),
            (headers(&[(LAST_MODIFIED, "yesterday")]), None),
            (headers(&[]), None),
        ] {
            assert_eq!(validator(&fields), expected, "{fields:?}");
        }
    }

    proptest! {
        #[test]
        fn parses_every_valid_content_range(first in 0..u64::MAX / 2, more in 0..1_000_000u64, behind in proptest::option::of(1..1_000_000u64)) {
            let last = first + more;
            let total = behind.map(|behind| last + behind);
            let shown = total.map_or("*".to_owned(), |total| total.to_string());
            let parsed = ContentRange::parse(&format!("bytes {first}-{last}/{shown}"));
            prop_assert_eq!(parsed, Some(ContentRange::Part { first, last, total }));
        }

        #[test]
        fn a_parsed_content_range_is_not_contradictory(value in "(bytes )?[0-9*+ -]{0,12}-?[0-9]{0,21}/?[0-9*]{0,21}") {
            if let Some(ContentRange::Part { first, last, total }) = ContentRange::parse(&value) {
                prop_assert!(first <= last && total.is_none_or(|total| last < total), "{}", value);
            }
        }
    }
}
