//! The links of documentation pages, as far as Markdown's links.

use std::path::PathBuf;

/// The targets of the relative links of a Markdown page, without the fragment.
pub fn relative_links(page: &str) -> Vec<&str> {
    let targets = page.split("](").skip(1);
    targets
        .filter_map(|rest| rest.split([')', '#']).next())
        .filter(|target| !target.is_empty() && !target.contains(':'))
        .collect()
}

/// The number of relative links of the pages, and the broken ones.
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
