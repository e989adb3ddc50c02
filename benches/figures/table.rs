//! What was measured, as a table that a person reads: values with units, the bound that each
//! required figure has, and whether it holds.
#![allow(clippy::print_stdout, reason = "the table is the product of a bench")]

/// The bound of a required figure.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}

impl Wanted {
    /// Judged as it is printed: to `digits` decimals.
    fn holds(self, value: f64, digits: i32) -> bool {
        let half_step = 0.5 * 10_f64.powi(-digits);
        match self {
            Self::AtLeast(bound) => value > bound - half_step,
            Self::AtMost(bound) => value < bound + half_step,
        }
    }
}

/// One line: a name, the columns before the last, and the figure that is judged.
pub struct Row {
    name: String,
    cells: Vec<String>,
    figure: Option<(f64, Option<Wanted>)>,
}

impl Row {
    pub fn new(name: impl Into<String>, cells: impl IntoIterator<Item = String>) -> Self {
        Self { name: name.into(), cells: cells.into_iter().collect(), figure: None }
    }

    /// A figure that nothing is required of.
    pub fn figure(self, value: f64) -> Self {
        Self { figure: Some((value, None)), ..self }
    }

    /// A figure and its bound.
    pub fn required(self, value: f64, wanted: Wanted) -> Self {
        Self { figure: Some((value, Some(wanted))), ..self }
    }
}

/// Figures of one kind.
pub struct Section {
    title: &'static str,
    /// What is compared with what, in whole sentences.
    notes: Vec<String>,
    columns: &'static [&'static str],
    /// What the judged figure is called.
    figure: &'static str,
    /// Its decimals.
    digits: i32,
    rows: Vec<Row>,
}

const NAME_WIDTH: usize = 46;
const CELL_WIDTH: usize = 13;

impl Section {
    pub fn new(
        title: &'static str,
        columns: &'static [&'static str],
        figure: &'static str,
        digits: i32,
    ) -> Self {
        Self { title, notes: Vec::new(), columns, figure, digits, rows: Vec::new() }
    }

    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// The names of the figures that miss their bounds, and how many have one.
    pub fn missed(&self) -> (Vec<String>, usize) {
        let judged = self.rows.iter().filter_map(|row| match row.figure {
            Some((value, Some(wanted))) => Some((row, wanted.holds(value, self.digits))),
            _ => None,
        });
        let judged: Vec<_> = judged.collect();
        let missed = judged.iter().filter(|(_, holds)| !holds);
        let kind = self.title.split(':').next().unwrap_or_default();
        let names = missed.map(|(row, _)| format!("{kind}: {}", row.name.trim())).collect();
        (names, judged.len())
    }

    pub fn print(&self) {
        println!("\n{}", self.title);
        for note in &self.notes {
            println!("  {note}");
        }
        print!("  {:<NAME_WIDTH$}", "");
        for column in self.columns.iter().chain([&self.figure]) {
            print!(" {column:>CELL_WIDTH$}");
        }
        println!();
        for row in &self.rows {
            print!("  {:<NAME_WIDTH$}", row.name);
            for index in 0..self.columns.len() {
                print!(" {:>CELL_WIDTH$}", row.cells.get(index).map_or("", String::as_str));
            }
            println!("{}", self.verdict(row));
        }
    }

    fn verdict(&self, row: &Row) -> String {
        let digits = usize::try_from(self.digits).unwrap_or(0);
        let Some((value, wanted)) = row.figure else { return String::new() };
        let value_text = format!(" {value:>CELL_WIDTH$.digits$}");
        let Some(wanted) = wanted else { return value_text };
        let bound = match wanted {
            Wanted::AtLeast(bound) => format!(">= {bound:.digits$}"),
            Wanted::AtMost(bound) => format!("<= {bound:.digits$}"),
        };
        let said = if wanted.holds(value, self.digits) { "met" } else { "MISSED" };
        format!("{value_text}  {said:<6} (wanted {bound})")
    }
}

/// A line outside of any section.
pub fn say(line: &str) {
    println!("{line}");
}

/// What has been measured so far, and what has missed its bound.
#[derive(Default)]
pub struct Tally {
    missed: Vec<String>,
    required: usize,
}

impl Tally {
    /// Prints a section and counts it.
    pub fn add(&mut self, section: &Section) {
        section.print();
        let (names, count) = section.missed();
        self.missed.extend(names);
        self.required += count;
    }

    /// Says that something could not be measured.
    pub fn not_measured(&mut self, name: &str, why: &dyn std::fmt::Display) {
        say(&format!("\n{name}: not measured: {why}"));
        self.missed.push(format!("{name}: not measured"));
    }

    /// Prints the end, and says whether every bound holds.
    pub fn close(self, end: &str) -> bool {
        say(&format!("\n{} required figures in {end}", self.required));
        for name in &self.missed {
            say(&format!("  MISSED  {name}"));
        }
        self.missed.is_empty()
    }
}
