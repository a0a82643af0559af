//! The arguments of an Execute (LwM2M TS, "Execute": `arglist = arg *( "," arg )`), and their meaning for Uninstall.

/// The longest argument list, in bytes.
pub const MAX_ARGUMENTS: usize = 1024;

/// The reason why an argument list is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// It does not follow the grammar.
    #[error("the arguments are no list of digits with quoted values, as in 0,1='x'")]
    Malformed,
    /// A digit occurs twice.
    #[error("an argument is given twice")]
    Repeated,
    /// The list is too long.
    #[error("more than {MAX_ARGUMENTS} bytes of arguments")]
    TooLong,
    /// An argument that Uninstall does not have.
    #[error("Uninstall takes no argument, 0, or 1 (for update), each without a value")]
    NotForUninstall,
}

/// An argument list that follows the grammar.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecuteArguments {
    digits: Vec<u8>,
    valued: bool,
}

/// The purpose of an Uninstall (TS 5.1.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Removal {
    /// No argument, or `0`: the package is removed.
    Remove,
    /// `1`, ForUpdate: the instance gets ready for a package that upgrades the software in place.
    ForUpdate,
}

impl ExecuteArguments {
    /// The arguments in this payload.
    pub fn parse(payload: &[u8]) -> Result<Self, ArgumentError> {
        if payload.len() > MAX_ARGUMENTS {
            return Err(ArgumentError::TooLong);
        }
        let mut arguments = Self::default();
        if payload.is_empty() {
            return Ok(arguments);
        }
        let mut rest = arguments.argument(payload)?;
        while let Some((comma, more)) = rest.split_first() {
            if *comma != b',' {
                return Err(ArgumentError::Malformed);
            }
            rest = arguments.argument(more)?;
        }
        Ok(arguments)
    }

    /// Their meaning for Uninstall. Only an unmistakable list is a removal.
    pub fn removal(&self) -> Result<Removal, ArgumentError> {
        match (self.digits.as_slice(), self.valued) {
            ([] | [b'0'], false) => Ok(Removal::Remove),
            ([b'1'], false) => Ok(Removal::ForUpdate),
            _ => Err(ArgumentError::NotForUninstall),
        }
    }

    /// Takes one argument from the front: `DIGIT [ "=" "'" *CHAR "'" ]`.
    fn argument<'a>(&mut self, list: &'a [u8]) -> Result<&'a [u8], ArgumentError> {
        let (digit, rest) = match list.split_first() {
            Some((digit, rest)) if digit.is_ascii_digit() => (*digit, rest),
            _ => return Err(ArgumentError::Malformed),
        };
        if self.digits.contains(&digit) {
            return Err(ArgumentError::Repeated);
        }
        self.digits.push(digit);
        match rest.strip_prefix(b"='") {
            Some(value) => {
                self.valued = true;
                after_value(value)
            }
            None => Ok(rest),
        }
    }
}

/// `CHAR = "!" / %x23-26 / %x28-5B / %x5D-7E`: printable, without quotes, backslash and space.
fn after_value(value: &[u8]) -> Result<&[u8], ArgumentError> {
    let length = value
        .iter()
        .position(|byte| !matches!(byte, b'!' | 0x23..=0x26 | 0x28..=0x5b | 0x5d..=0x7e))
        .ok_or(ArgumentError::Malformed)?;
    match value.split_at(length).1.split_first() {
        Some((b'\'', rest)) => Ok(rest),
        _ => Err(ArgumentError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn removal(payload: &str) -> Result<Removal, ArgumentError> {
        ExecuteArguments::parse(payload.as_bytes())?.removal()
    }

    #[test]
    fn uninstall_takes_nothing_bare_0_or_bare_1() {
        assert_eq!(removal(""), Ok(Removal::Remove));
        assert_eq!(removal("0"), Ok(Removal::Remove));
        assert_eq!(removal("1"), Ok(Removal::ForUpdate));
    }

    #[test]
    fn every_other_valid_list_is_not_for_uninstall() {
        for list in ["2", "0,1", "1,0", "0='1'", "1=''", "0='',1", "9='x'"] {
            assert_eq!(removal(list), Err(ArgumentError::NotForUninstall), "{list}");
        }
    }

    #[test]
    fn a_list_outside_the_grammar_is_malformed() {
        for list in [
            "x",
            " ",
            "0 ",
            " 0",
            "0,",
            ",0",
            "0,,1",
            "01",
            "0=",
            "0='",
            "0='x",
            "0=x",
            "0='x'y",
            "0='x''",
            "0='a b'",
            "0='a\\'",
            "0='\u{e9}'",
            "0='\u{7f}'",
            "0=\"x\"",
            "-1",
            "０",
            "0;1",
            "0='\"'",
        ] {
            let parsed = ExecuteArguments::parse(list.as_bytes());
            assert_eq!(parsed, Err(ArgumentError::Malformed), "{list:?}");
        }
    }

    #[test]
    fn every_printable_character_but_space_quotes_and_backslash_may_stand_in_a_value() {
        for byte in 0..=u8::MAX {
            let valid = byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
            let parsed = ExecuteArguments::parse(&[b'0', b'=', b'\'', byte, b'\'']);
            assert_eq!(parsed.is_ok(), valid, "{byte:#x}");
        }
    }

    #[test]
    fn a_repeated_digit_is_refused() {
        for list in ["0,0", "1='x',1", "3,2,1,2"] {
            assert_eq!(
                ExecuteArguments::parse(list.as_bytes()),
                Err(ArgumentError::Repeated),
                "{list}"
            );
        }
    }

    #[test]
    fn a_list_is_bounded() {
        let of = |length: usize| format!("0='{}'", "x".repeat(length - 4));
        assert!(ExecuteArguments::parse(of(MAX_ARGUMENTS).as_bytes()).is_ok());
        assert_eq!(
            ExecuteArguments::parse(of(MAX_ARGUMENTS + 1).as_bytes()),
            Err(ArgumentError::TooLong)
        );
    }

    #[test]
    fn all_ten_digits_may_be_given() {
        let arguments = ExecuteArguments::parse(b"0,1='a',2,3,4,5='b',6,7,8,9").unwrap();
        assert_eq!(arguments.digits, *b"0123456789");
        assert!(arguments.valued);
    }

    proptest! {
        /// Over bytes that look like argument lists, and over any.
        #[test]
        fn nothing_but_the_three_lists_is_ever_a_removal_or_an_update(
            payload in prop_oneof!["[01,='x ]{0,6}".prop_map(String::into_bytes), any::<Vec<u8>>()],
        ) {
            match ExecuteArguments::parse(&payload).and_then(|arguments| arguments.removal()) {
                Ok(Removal::Remove) => prop_assert!(payload.is_empty() || payload == b"0"),
                Ok(Removal::ForUpdate) => prop_assert_eq!(payload, b"1"),
                Err(_) => prop_assert!(!matches!(payload.as_slice(), b"" | b"0" | b"1")),
            }
        }
    }
}
