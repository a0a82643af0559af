//! The arguments of an Execute (LwM2M TS, "Execute": `arglist = arg *( "," arg )`), and what Uninstall takes from them.

/// The longest argument list that is looked at, in bytes.
pub const MAX_ARGUMENTS: usize = 1024;

/// Why an argument list is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// Not the grammar.
    #[error("the arguments are no list of digits with quoted values, as in 0,1='x'")]
    Malformed,
    /// One digit twice.
    #[error("an argument is given twice")]
    Repeated,
    /// A list too long to be meant.
    #[error("more than {MAX_ARGUMENTS} bytes of arguments")]
    TooLong,
    /// An argument that Uninstall does not have.
    #[error("Uninstall takes no argument, 0, or 1 (for update), each without a value")]
    NotForUninstall,
}

/// An argument list that follows the grammar.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arguments {
    digits: Vec<u8>,
    valued: bool,
}

/// What an Uninstall is for (TS 5.1.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Removal {
    /// No argument, or `0`: the package is removed.
    Remove,
    /// `1`, ForUpdate: the instance gets ready for a package that upgrades the software in place.
    ForUpdate,
}

impl Arguments {
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

    /// What they ask of Uninstall. Only what is unmistakable is ever a removal.
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
