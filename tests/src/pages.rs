//! What pages of documentation lead to. Knows Markdown no further than its links.

/// The targets of the relative links of a page in Markdown, without the place in the other page.
pub fn relative_links(page: &str) -> Vec<&str> {
    let targets = page.split("](").skip(1);
    targets
        .filter_map(|rest| rest.split([')', '#']).next())
        .filter(|target| !target.is_empty() && !target.contains(':'))
        .collect()
}
