"use strict";
// CSV as RFC 4180 has it: UTF-8, lines end with CR LF, fields with a comma, a quote or a line break are quoted.
((S) => {
  const quoted = (value) => {
    const text = String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  S.toCsv = (columns, rows) =>
    [columns, ...rows.map((row) => columns.map((name) => row[name] ?? ""))]
      .map((fields) => `${fields.map(quoted).join(",")}\r\n`)
      .join("");

  // A spreadsheet would run free text that begins so; a quote before it keeps it text, and is taken off again.
  S.guarded = (text) => (/^'*[=@+\-\t\r]/.test(text) ? `'${text}` : text);
  S.unguarded = (text) => (/^'+[=@+\-\t\r]/.test(text) ? text.slice(1) : text);

  /** Return the rows of a CSV text as objects by its header. A spreadsheet may have saved it with semicolons or tabs. */
  S.fromCsv = (text) => {
    const plain = text.replace(/^\ufeff/, "");
    const separator = /[,;\t]/.exec(plain)?.[0] ?? ",";
    const lines = fields(plain, separator).filter((line) => line.length > 1 || line[0] !== "");
    const [header = [], ...rows] = lines;
    return {
      columns: header,
      rows: rows.map((row) => Object.fromEntries(header.map((name, i) => [name, row[i] ?? ""]))),
    };
  };

  const fields = (text, separator) => {
    const lines = [];
    let [line, field, inside] = [[], "", false];
    const endLine = () => (lines.push([...line, field]), (line = []), (field = ""));
    for (let i = 0; i < text.length; i++) {
      const letter = text[i];
      if (inside) {
        if (letter !== '"') field += letter;
        else if (text[i + 1] === '"') ((field += '"'), i++);
        else inside = false;
      } else if (letter === '"' && field === "") inside = true;
      else if (letter === separator) (line.push(field), (field = ""));
      else if (letter === "\n" || letter === "\r") {
        if (letter === "\r" && text[i + 1] === "\n") i++;
        endLine();
      } else field += letter;
    }
    if (field !== "" || line.length) endLine();
    return lines;
  };
})(window.stratamil);
