//! Columns below each other.

use std::fmt::Write;

/// A table with a head; the last column is as long as it is.
pub(in crate::command) fn of<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let head = head.map(str::to_owned);
    let mut widths = [0; N];
    for row in rows.iter().chain([&head]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in [&head].into_iter().chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            // Writing to a String cannot fail.
            let _ok = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_stand_below_each_other_and_no_line_ends_with_space() {
        let rows = [["1", "refused", ""], ["1000", "poison", "x"]].map(|it| it.map(str::to_owned));
        let text = super::of(["number", "reason", "app"], &rows);
        let expected = "number  reason   app\n1       refused\n1000    poison   x\n";
        assert_eq!(text, expected);
    }
}
