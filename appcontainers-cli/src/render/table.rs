//! Aligned columns.

use super::plain;

/// A header and rows, columns two spaces apart, every line ended, no blanks at line ends.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let head = header.map(str::to_owned);
    let body = rows.into_iter().map(|row| row.map(|cell| plain(&cell).into_owned()));
    let lines: Vec<[String; N]> = std::iter::once(head).chain(body).collect();
    let mut widths = [0; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in &lines {
        let padded = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_nothing_trails() {
        let rows = [["a".to_owned(), "1".to_owned()], ["long-name".to_owned(), "22".to_owned()]];
        assert_eq!(table(["NAME", "N"], rows), "NAME       N\na          1\nlong-name  22\n");
    }

    #[test]
    fn an_empty_table_is_its_header() {
        assert_eq!(table(["NAME", "STATUS"], []), "NAME  STATUS\n");
    }

    #[test]
    fn a_cell_cannot_break_a_line() {
        assert_eq!(table(["X"], [["a\nb".to_owned()]]), "X\na\\nb\n");
    }
}
