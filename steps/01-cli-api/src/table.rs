//! Tables for people: columns as wide as their longest cell.
//!
//! Nothing is known of the terminal, and nothing is cut here: a table that
//! goes into a pipe must be whole. Callers shorten long cells themselves.

/// Rows of cells under a header.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

/// Between two columns, and the least width of a column with it: Docker's.
const GAP: usize = 3;
const NARROWEST: usize = 10;

impl Table {
    /// An empty table with this header.
    pub fn new<T: Into<String>>(header: impl IntoIterator<Item = T>) -> Table {
        let mut table = Table::default();
        table.row(header);
        table
    }

    /// Adds a row.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Widths count characters, not bytes: `…` is three bytes.
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|it| it.get(column));
            let longest = cells.map(|it| it.chars().count()).max();
            (longest.unwrap_or(0) + GAP).max(NARROWEST)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                let used = cell.chars().count();
                line.push_str(&" ".repeat(width - used));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_do_not_end_in_blanks() {
        let mut table = Table::new(["ID", "NAME", "X"]);
        table.row(["0123456789", "ä", ""]);
        assert_eq!(
            table.to_string(),
            "ID           NAME      X\n0123456789   ä\n"
        );
    }
}
