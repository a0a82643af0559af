//! A figure as it is told: one line, with its aim and what it stands beside.

/// One measured number.
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) name: &'static str,
    /// The most that it may be, if somebody said so.
    pub(crate) aim: Option<f64>,
    /// What it is.
    pub(crate) measured: f64,
    /// What it is counted in; empty for a ratio.
    pub(crate) unit: &'static str,
    /// What others need for the same.
    pub(crate) beside: String,
}

impl Figure {
    /// Says it, as it is judged: to two decimals.
    pub(crate) fn tell(&self) {
        let unit = self.unit;
        let measured = format!("{:.2} {unit}", self.measured);
        let (aim, verdict) = match self.aim {
            None => (String::new(), ""),
            Some(aim) => {
                let met = (self.measured * 100.0).round() <= (aim * 100.0).round();
                let verdict = if met { "met" } else { "MISSED" };
                (format!("<= {aim} {unit}"), verdict)
            }
        };
        println!(
            "{:52} {measured:>16}  {aim:>10}  {verdict:6}  {}",
            self.name, self.beside
        );
    }
}
