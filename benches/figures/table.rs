//! The table that is printed.

/// One figure.
pub struct Row {
    pub figure: &'static str,
    /// What was measured, with its unit.
    pub measured: String,
    /// The limit beside it, with its unit; empty when there is none.
    pub limit: String,
    /// What is compared with the bar: mostly measured through limit.
    pub value: String,
    /// The lowest and the highest value of the runs.
    pub spread: String,
    /// What is to be reached; empty for figures that only inform.
    pub bar: String,
    /// Whether it is reached. `None`: nothing to reach, or the measurement is not valid.
    pub reached: Option<bool>,
    /// Why the measurement is not to be trusted; empty when it is.
    pub doubt: String,
}

/// A bar on a value.
#[derive(Clone, Copy)]
pub enum Bar {
    AtMost(f64),
    AtLeast(f64),
    None,
}

impl Bar {
    fn reached(self, value: f64) -> Option<bool> {
        match self {
            Self::AtMost(bar) => Some(value <= bar),
            Self::AtLeast(bar) => Some(value >= bar),
            Self::None => None,
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Self::AtMost(bar) => format!("≤ {bar}{unit}"),
            Self::AtLeast(bar) => format!("≥ {bar}{unit}"),
            Self::None => String::new(),
        }
    }
}

impl Row {
    /// A figure against a limit: `ratios` are those of the runs, of which the median counts.
    pub fn ratio(figure: &'static str, measured: String, limit: String, ratios: &[f64], bar: Bar) -> Self {
        Self::values(figure, measured, limit, ratios, " ×", bar)
    }

    /// A figure that is compared as it is.
    pub fn values(figure: &'static str, measured: String, limit: String, values: &[f64], unit: &str, bar: Bar) -> Self {
        let value = crate::stats::median(values);
        let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
        Self {
            figure,
            measured,
            limit,
            value: format!("{value:.2}{unit}"),
            spread: format!("{low:.2} – {high:.2}"),
            bar: bar.text(unit),
            reached: bar.reached(value),
            doubt: String::new(),
        }
    }

    /// Marks it as not to be trusted.
    pub fn doubted(mut self, why: &str) -> Self {
        self.doubt = why.to_owned();
        self.reached = None;
        self
    }

    fn verdict(&self) -> &str {
        match self.reached {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => &self.doubt,
        }
    }
}

/// The table as Markdown.
pub fn render(rows: &[Row]) -> String {
    let mut out = String::from("| figure | measured | limit | value | runs | bar | |\n|---|---|---|---|---|---|---|\n");
    for row in rows {
        let cells = [row.figure, &row.measured, &row.limit, &row.value, &row.spread, &row.bar, row.verdict()];
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    out
}
