//! A printed figure: one line, with its aim and the figure of a peer.

/// One measured number.
pub(crate) struct Figure {
    /// Its name.
    pub(crate) name: &'static str,
    /// The largest accepted value, if there is an aim.
    pub(crate) aim: Option<f64>,
    /// The value.
    pub(crate) measured: f64,
    /// The unit; empty for a ratio.
    pub(crate) unit: &'static str,
    /// The cost of the same in other programs.
    pub(crate) beside: String,
}

impl Figure {
    /// Prints it with the two decimals by which it is judged.
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
