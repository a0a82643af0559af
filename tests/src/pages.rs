//! What pages of documentation lead to. Knows Markdown no further than its links.

use std::path::PathBuf;

/// The targets of the relative links of a page in Markdown, without the place in the other page.
pub fn relative_links(page: &str) -> Vec<&str> {
    let targets = page.split("](").skip(1);
    targets
        .filter_map(|rest| rest.split([')', '#']).next())
        .filter(|target| !target.is_empty() && !target.contains(':'))
        .collect()
}

/// How many relative links the pages have, and those that lead nowhere.
pub fn broken_links(pages: impl IntoIterator<Item = (PathBuf, String)>) -> (usize, Vec<String>) {
    let (mut links, mut broken) = (0, Vec::new());
    for (path, text) in pages {
        for link in relative_links(&text) {
            links += 1;
            if !path.with_file_name(link).exists() {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    (links, broken)
}
