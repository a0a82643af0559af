//! The reason why a package cannot be installed or removed here, from the packages' fields (deb-control(5), Policy 7).
//! apt names the packages that it would remove, but not the relation, and its words change with its version. The fields
//! are stable. This module decides nothing: apt has refused already.

use std::{cmp::Ordering, collections::BTreeSet, fmt};

use super::{dpkg, version};

/// The longest reason. `Text` cuts later than that, and other words precede the reason.
const LONGEST: usize = 320;

/// The most relations that are read from one field: each is compared with all packages. A reason names only these.
const RELATIONS: usize = 1024;

/// The fields of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declared<'a> {
    name: &'a str,
    version: &'a str,
    state: &'a str,
    needs: Vec<Alternatives<'a>>,
    conflicts: Vec<Relation<'a>>,
    breaks: Vec<Relation<'a>>,
    provides: Vec<Relation<'a>>,
}

/// `a (>= 1) | b`: alternatives.
type Alternatives<'a> = Vec<Relation<'a>>;

/// `name`, `name (>= version)`; the architecture in `name:any` is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Relation<'a> {
    name: &'a str,
    version: Option<(&'a str, &'a str)>,
}

impl fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some((operator, version)) => write!(f, "{} ({operator} {version})", self.name),
            None => f.write_str(self.name),
        }
    }
}

/// Reads lines of [`dpkg::RELATIONS`]. A line that cannot be parsed is skipped.
pub(super) fn declared(lines: &str) -> Vec<Declared<'_>> {
    lines.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<Declared<'_>> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, version, state, needs, conflicts, breaks, provides] = fields.as_slice() else {
        return None;
    };
    Some(Declared {
        name,
        version,
        state,
        needs: bounded(needs).split(',').map(alternatives).collect(),
        conflicts: list(conflicts),
        breaks: list(breaks),
        provides: list(provides),
    })
}

fn list(field: &str) -> Vec<Relation<'_>> {
    bounded(field).split(',').filter_map(relation).collect()
}

/// The field, or its beginning up to a whole group.
fn bounded(field: &str) -> &str {
    let Some((end, _)) = field.match_indices([',', '|']).nth(RELATIONS) else {
        return field;
    };
    let whole = field.get(..end).and_then(|it| it.rsplit_once(','));
    whole.map_or("", |(whole, _)| whole)
}

fn alternatives(group: &str) -> Alternatives<'_> {
    group.split('|').filter_map(relation).collect()
}

fn relation(text: &str) -> Option<Relation<'_>> {
    let (name, version) = match text.trim().split_once('(') {
        Some((name, version)) => (name.trim(), Some(version.trim_end_matches(')').trim())),
        None => (text.trim(), None),
    };
    let name = name.split(':').next().unwrap_or(name);
    let version = version.map(|version| {
        let at = version.find(|character| !matches!(character, '<' | '=' | '>'));
        let (operator, version) = version.split_at_checked(at?)?;
        Some((operator, version.trim()))
    });
    (!name.is_empty()).then_some(())?;
    Some(Relation {
        name,
        version: version.flatten(),
    })
}

impl Relation<'_> {
    fn takes(&self, version: &str) -> bool {
        let Some((operator, wanted)) = self.version else {
            return true;
        };
        let order = version::compare(version, wanted);
        match operator {
            "<<" => order == Ordering::Less,
            "<=" | "<" => order != Ordering::Greater,
            ">=" | ">" => order != Ordering::Less,
            ">>" => order == Ordering::Greater,
            _ => order == Ordering::Equal,
        }
    }

    /// Whether the package has this name, or provides it. A provided name has a version only if the package gives one.
    fn means(&self, package: &Declared<'_>) -> bool {
        self.means_itself(package)
            || package.provides.iter().any(|provided| {
                provided.name == self.name
                    && match provided.version {
                        Some((_, version)) => self.takes(version),
                        None => self.version.is_none(),
                    }
            })
    }

    fn means_itself(&self, package: &Declared<'_>) -> bool {
        package.name == self.name && self.takes(package.version)
    }

    /// The relation in words: as declared, or by the name of the package that provides it.
    fn of(&self, package: &Declared<'_>) -> String {
        match self.means_itself(package) {
            true => self.to_string(),
            false => package.name.to_owned(),
        }
    }
}

impl Declared<'_> {
    fn is_there(&self) -> bool {
        !dpkg::is_absent(self.state)
    }

    /// dpkg accepts a package as a dependency only once it is configured.
    fn is_configured(&self) -> bool {
        matches!(
            self.state,
            "installed" | "triggers-pending" | "triggers-awaited"
        )
    }

    fn is_another_than(&self, name: &str) -> bool {
        self.name != name
    }
}

fn is_met(group: &[Relation<'_>], by: &[&Declared<'_>]) -> bool {
    let mut relations = group.iter();
    group.is_empty() || relations.any(|relation| by.iter().any(|package| relation.means(package)))
}

/// The reason why this package cannot be installed beside these; none if the fields do not tell.
pub(super) fn why_not_installed(new: &Declared<'_>, known: &[Declared<'_>]) -> Option<String> {
    let there: Vec<_> = known.iter().filter(|it| it.is_there()).collect();
    let others = there.iter().copied();
    let others: Vec<_> = others.filter(|it| it.is_another_than(new.name)).collect();
    let reasons = unmet(new, &others)
        .into_iter()
        .chain(refused_by(new, &others))
        .chain(refusing(new, &others))
        .chain(needing(new.name, Some(new), &there));
    joined(reasons)
}

/// The reason why this package cannot be removed; none if the fields do not tell.
pub(super) fn why_not_removed(name: &str, known: &[Declared<'_>]) -> Option<String> {
    const NAMED: usize = 3;
    let there: Vec<_> = known.iter().filter(|it| it.is_there()).collect();
    let broken = broken(name, None, &there);
    let mut names: Vec<&str> = broken.iter().map(|(package, _)| package.name).collect();
    names.dedup();
    let more = names.len().saturating_sub(NAMED);
    let named = names.get(..NAMED).unwrap_or(&names).join(", ");
    match names.len() {
        0 => None,
        1 => Some(format!("cannot remove {name}: {named} depends on it")),
        _ if more == 0 => Some(format!("cannot remove {name}: {named} depend on it")),
        _ => Some(format!(
            "cannot remove {name}: {named} and {more} more depend on it"
        )),
    }
}

/// `acme depends on a (>= 2) or b, and none of them is installed`
fn unmet(new: &Declared<'_>, others: &[&Declared<'_>]) -> Vec<String> {
    let configured = others.iter().copied().filter(|it| it.is_configured());
    let can_be_used: Vec<_> = configured.chain([new]).collect();
    let groups = new.needs.iter();
    let unmet = groups.filter(|group| !is_met(group, &can_be_used));
    let told = unmet.map(|group| {
        let words: Vec<String> = group.iter().map(Relation::to_string).collect();
        let name = |package: &&&Declared<'_>| group.iter().any(|it| it.name == package.name);
        let there: Vec<String> = others.iter().filter(name).map(|it| found(it)).collect();
        let instead = match (there.is_empty(), group.len()) {
            (true, 1) => "which is not installed".to_owned(),
            (true, _) => "and none of them is installed".to_owned(),
            (false, _) => format!("and here is {}", there.join(", ")),
        };
        format!("{} depends on {}, {instead}", new.name, words.join(" or "))
    });
    told.collect()
}

fn found(package: &Declared<'_>) -> String {
    match package.is_configured() {
        true => format!("{} {}", package.name, package.version),
        false => format!("{} {} ({})", package.name, package.version, package.state),
    }
}

/// `acme conflicts with b, which is installed`
fn refused_by(new: &Declared<'_>, others: &[&Declared<'_>]) -> Vec<String> {
    let told = each_met(new, others).map(|(verb, relation, other)| {
        let what = relation.of(other);
        let found = match what == other.name {
            true => "which is installed".to_owned(),
            false => format!("and {} {} is installed", other.name, other.version),
        };
        format!("{} {verb} {what}, {found}", new.name)
    });
    told.collect()
}

/// `b, which is installed, conflicts with acme`; left out if acme declares the same conflict.
fn refusing(new: &Declared<'_>, others: &[&Declared<'_>]) -> Vec<String> {
    let news = [new];
    let own: BTreeSet<&str> = each_met(new, others).map(|(_, _, it)| it.name).collect();
    let not_own = others.iter().filter(|other| !own.contains(other.name));
    let told = not_own.flat_map(|other| {
        let met = each_met(other, &news);
        met.map(|(verb, relation, new)| {
            let what = relation.of(new);
            format!("{}, which is installed, {verb} {what}", other.name)
        })
    });
    told.collect()
}

/// Each conflict of a package with others, and the name of the field.
fn each_met<'a>(
    package: &'a Declared<'_>,
    others: &'a [&Declared<'_>],
) -> impl Iterator<Item = (&'static str, &'a Relation<'a>, &'a Declared<'a>)> {
    let conflicts = package.conflicts.iter().map(|it| ("conflicts with", it));
    let breaks = package.breaks.iter().map(|it| ("breaks", it));
    conflicts.chain(breaks).flat_map(move |(verb, relation)| {
        let met = others.iter().filter(|other| relation.means(other));
        met.map(move |other| (verb, relation, *other))
    })
}

/// `b, which is installed, depends on acme (= 1)`
fn needing(name: &str, new: Option<&Declared<'_>>, there: &[&Declared<'_>]) -> Vec<String> {
    let broken = broken(name, new, there).into_iter();
    let told = broken.map(|(package, group)| {
        let words: Vec<String> = group.iter().map(Relation::to_string).collect();
        let words = words.join(" or ");
        format!("{}, which is installed, depends on {words}", package.name)
    });
    told.collect()
}

/// The dependencies of others that are met now, and not after this package is removed or replaced.
fn broken<'a>(
    name: &str,
    new: Option<&Declared<'_>>,
    there: &[&'a Declared<'a>],
) -> Vec<(&'a Declared<'a>, &'a [Relation<'a>])> {
    let packages = there.iter().copied();
    let (others, old): (Vec<_>, Vec<_>) = packages.partition(|it| it.is_another_than(name));
    let after: Vec<&Declared<'_>> = new.into_iter().chain(others.iter().copied()).collect();
    let mut broken = Vec::new();
    for package in others {
        let groups = package.needs.iter();
        // Removing this package can only break a dependency that it met.
        let lost = groups.filter(|group| is_met(group, &old) && !is_met(group, &after));
        broken.extend(lost.map(|group| (package, group.as_slice())));
    }
    broken
}

/// The first reasons that fit, at least one.
fn joined(reasons: impl Iterator<Item = String>) -> Option<String> {
    let mut reasons = reasons.peekable();
    let mut text = reasons.next()?;
    while let Some(reason) = reasons.next_if(|next| text.len() + next.len() <= LONGEST) {
        text += "; ";
        text += &reason;
    }
    match reasons.count() {
        0 => Some(text),
        more => Some(format!("{text}; and {more} more")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "libklibc\t2.0.12-1\tinstalled\t, \t\t\t\n\
                        klibc-utils\t2.0.12-1\tinstalled\t, libklibc (= 2.0.12-1)\t\t\t\n\
                        systemd-timesyncd\t252.1\tinstalled\t, libc6 (>= 2.34)\ttime-daemon\t\ttime-daemon\n\
                        libc6\t2.36-9\tinstalled\t, \t\told-nscd (<< 2.35)\t\n\
                        exim4\t4.96\tinstalled\t, \t\t\tmail-transport-agent, smtpd (= 4)\n\
                        bsd-mailx\t8\tinstalled\t, default-mta | mail-transport-agent\t\t\t\n\
                        jammed\t1\thalf-configured\t, \t\t\t\n\
                        gone\t1\tconfig-files\t, \t\t\t\n";

    /// Describes a new package: its name, version, Depends, Conflicts, Breaks and Provides.
    fn why(new: &str) -> Option<String> {
        let known = declared(HERE);
        let new = declared(new).pop().expect("a line");
        why_not_installed(&new, &known)
    }

    #[test]
    fn what_stands_in_the_way_of_an_installation_is_named() {
        for (new, expected) in [
            ("a\t1\t\t, libc6:any (>= 2.34), exim4\t\t\t", None),
            (
                "a\t1\t\texim4 (>> 4.95), mail-transport-agent, smtpd (>= 3)\t\t\t",
                None,
            ),
            ("a\t1\t\t, a (= 1)\ta\t\ta", None),
            ("libklibc\t2.0.12-1\t\t, \t\t\t", None),
            (
                "a\t1\t\t, gone\t\t\t",
                Some("a depends on gone, which is not installed"),
            ),
            (
                "a\t1\t\tnowhere (>= 2), \t\t\t",
                Some("a depends on nowhere (>= 2), which is not installed"),
            ),
            (
                "a\t1\t\t, nowhere (>= 2) | nobody\t\t\t",
                Some("a depends on nowhere (>= 2) or nobody, and none of them is installed"),
            ),
            (
                "a\t1\t\t, libc6 (>= 3) | nobody\t\t\t",
                Some("a depends on libc6 (>= 3) or nobody, and here is libc6 2.36-9"),
            ),
            (
                "a\t1\t\t, jammed\t\t\t",
                Some("a depends on jammed, and here is jammed 1 (half-configured)"),
            ),
            (
                "a\t1\t\t, smtpd (>= 5)\t\t\t",
                Some("a depends on smtpd (>= 5), which is not installed"),
            ),
            (
                "chrony\t4\t\t, libc6\ttime-daemon\t\ttime-daemon",
                Some("chrony conflicts with systemd-timesyncd, which is installed"),
            ),
            (
                "ntpsec\t1\t\t, \t\t\ttime-daemon",
                Some("systemd-timesyncd, which is installed, conflicts with ntpsec"),
            ),
            (
                "a\t1\t\t, \t\tlibc6 (<< 2.40)\t",
                Some("a breaks libc6 (<< 2.40), and libc6 2.36-9 is installed"),
            ),
            (
                "old-nscd\t2.31\t\t, \t\t\t",
                Some("libc6, which is installed, breaks old-nscd (<< 2.35)"),
            ),
            (
                "libklibc\t3\t\t, \t\t\t",
                Some("klibc-utils, which is installed, depends on libklibc (= 2.0.12-1)"),
            ),
        ] {
            assert_eq!(why(new).as_deref(), expected, "{new}");
        }
    }

    #[test]
    fn who_needs_a_package_is_named_where_nothing_else_would_do() {
        let known = [HERE, "nullmailer\t1\tinstalled\t, \t\t\tdefault-mta\n"].concat();
        for (name, known, expected) in [
            (
                "libklibc",
                HERE,
                Some("cannot remove libklibc: klibc-utils depends on it"),
            ),
            (
                "exim4",
                HERE,
                Some("cannot remove exim4: bsd-mailx depends on it"),
            ),
            ("exim4", &known, None),
            ("bsd-mailx", HERE, None),
            ("gone", HERE, None),
        ] {
            let known = declared(known);
            assert_eq!(why_not_removed(name, &known).as_deref(), expected, "{name}");
        }
        let many = ["a", "b", "c", "d", "e"]
            .map(|name| format!("{name}\t1\tinstalled\t, z, z (= 1)\t\t\t\n"));
        let known = ["z\t1\tinstalled\t, \t\t\t\n".to_owned(), many.concat()].concat();
        assert_eq!(
            why_not_removed("z", &declared(&known)).as_deref(),
            Some("cannot remove z: a, b, c and 2 more depend on it")
        );
    }

    #[test]
    fn a_long_reason_is_cut_between_packages() {
        let needs: Vec<String> = (0..100).map(|number| format!("lib{number}")).collect();
        let reason = why(&format!("a\t1\t\t, {}\t\t\t", needs.join(", "))).unwrap();
        assert!(reason.len() < LONGEST + 20, "{reason}");
        assert!(reason.starts_with("a depends on lib0, which is not installed; a depends on lib1"));
        assert!(reason.ends_with(" more"), "{reason}");
    }

    #[test]
    fn a_reason_on_a_device_with_many_packages_does_not_compare_each_with_each() {
        const PACKAGES: usize = 3_000;
        let needs = |number: usize| -> String {
            let needs = (1..9).map(|next| format!("p{} | none", (number + next) % PACKAGES));
            needs.collect::<Vec<_>>().join(", ")
        };
        let installed = |number: usize| {
            let needs = needs(number);
            format!("p{number}\t1\tinstalled\t, {needs}\t\tnew (<< 1)\tv{number}\n")
        };
        let mut here: String = (1..PACKAGES).map(installed).collect();
        here += "p0\t1\tinstalled\t, \t\t\t\nuser\t1\tinstalled\t, p0 (= 1)\t\t\t\n";
        let known = declared(&here);
        let breaks: Vec<String> = (0..300).map(|number| format!("x{number}")).collect();
        let breaks = breaks.join(", ");
        let begun = std::time::Instant::now();
        let why = |new: &str, broken: &str| {
            let new = format!("{new}\t\t, \t\t{broken}\t");
            why_not_installed(&declared(&new)[0], &known)
        };
        assert_eq!(why("new\t1", &breaks), None);
        assert_eq!(
            why("p0\t2", &breaks).as_deref(),
            Some("user, which is installed, depends on p0 (= 1)")
        );
        assert_eq!(
            why_not_removed("p0", &known).as_deref(),
            Some("cannot remove p0: p2992, p2993, p2994 and 6 more depend on it")
        );
        // Comparing each with each takes minutes.
        let taken = begun.elapsed();
        assert!(taken < std::time::Duration::from_secs(20), "{taken:?}");
    }

    #[test]
    fn more_relations_than_a_package_declares_are_not_read() {
        let many = |separator: &str| vec!["a | b"; RELATIONS].join(separator);
        for (field, read) in [
            ("a".to_owned(), 1),
            (many(", "), RELATIONS / 2),
            (many(" | "), 0),
            (vec!["a"; RELATIONS].join(","), RELATIONS),
            (vec!["a"; RELATIONS + 2].join(","), RELATIONS),
        ] {
            assert_eq!(list(&field).len(), read, "{}", field.len());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_field_is_too_strange(fields in "[a-z(<>=)|,:\t\n .0-9]*", name in "[a-z]{1,4}") {
            let known = declared(&fields);
            let _ = why_not_removed(&name, &known);
            for new in &known {
                let _ = why_not_installed(new, &known);
            }
        }
    }
}
