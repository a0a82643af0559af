//! The (proleptic Gregorian) calendar in UTC: how our programs write a day.

/// The day of a time in Unix seconds, as `2024-02-29`.
pub fn day(seconds: u64) -> String {
    let (year, month, day) = date(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Year, month and day of the month of a day since 1970-01-01. Years begin in March here, so that the leap day ends the
/// year.
const fn date(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468; // since 0000-03-01
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    match month < 10 {
        true => (era * 400 + year, month + 3, of_month),
        false => (era * 400 + year + 1, month - 9, of_month),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_day_as_people_do() {
        for (seconds, told) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_704_067_199, "2023-12-31"),
            (1_709_164_800, "2024-02-29"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(day(seconds), told, "{seconds}");
        }
    }
}
