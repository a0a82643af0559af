//! The sections of a WebAssembly module with its imports and its functions (WebAssembly Core 5.5).

const IMPORTS: u8 = 2;
const FUNCTIONS: u8 = 3;

/// The imports of a module, and the number of its own functions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) imports: Vec<String>,
    pub(crate) functions: u32,
}

impl Module {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let mut rest = bytes
            .strip_prefix(b"\0asm\x01\0\0\0")
            .expect("a module, version 1");
        let mut module = Self {
            imports: Vec::new(),
            functions: 0,
        };
        while let Some((kind, mut section)) = section(&mut rest) {
            match kind {
                IMPORTS => module.imports = imports(&mut section),
                FUNCTIONS => module.functions = number(&mut section),
                _ => {}
            }
        }
        module
    }
}

fn section<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (kind, after) = rest.split_first()?;
    *rest = after;
    Some((*kind, counted(rest)))
}

fn imports(section: &mut &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..number(section) {
        let module = String::from_utf8_lossy(counted(section)).into_owned();
        let name = String::from_utf8_lossy(counted(section)).into_owned();
        names.push(format!("{module}.{name}"));
        let (kind, after) = section.split_first().expect("a kind of import");
        *section = after;
        assert_eq!(
            *kind,
            0,
            "{}: no function, which is all that is read here",
            names.concat()
        );
        number(section);
    }
    names
}

fn counted<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let length = number(rest) as usize;
    let (counted, after) = rest.split_at(length);
    *rest = after;
    counted
}

/// LEB128, unsigned.
fn number(rest: &mut &[u8]) -> u32 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, after) = rest.split_first().expect("a number that ends");
        *rest = after;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

#[test]
fn an_import_is_seen() {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend(b"\x02\x0b\x01\x03env\x03now\x00\x00");
    module.extend(b"\x03\x03\x02\x00\x00");
    let expected = Module {
        imports: vec!["env.now".to_owned()],
        functions: 2,
    };
    assert_eq!(Module::parse(&module), expected);
}
