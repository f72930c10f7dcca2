package ecs

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables and examples of docs/records.md anew")

// TestRecordsPage compares the tables and examples of docs/records.md, which
// stand between <!-- NAME --> and <!-- /NAME -->, with the schemas and with
// what Append writes.
func TestRecordsPage(t *testing.T) {
	const path = "../../docs/records.md"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := string(page)
	common, own := fieldTables(t)
	want = replaceBlock(t, want, "common", common)
	for _, e := range samples() {
		var example bytes.Buffer
		if err := json.Indent(&example, Append(nil, &e, observer), "", "  "); err != nil {
			t.Fatal(err)
		}
		block := own[string(e.Dataset)] + "\n```json\n" + example.String() + "\n```\n"
		want = replaceBlock(t, want, string(e.Dataset), block)
	}
	if want == string(page) {
		return
	}
	if !*update {
		t.Fatal("docs/records.md is not what vft writes; run: go test ./siem/ecs -run RecordsPage -update")
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func replaceBlock(t *testing.T, page, name, block string) string {
	t.Helper()
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	before, rest, ok := strings.Cut(page, begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("docs/records.md has no block %s", name)
	}
	return before + begin + block + end + after
}

// fieldTables returns a table of the fields that all datasets share with one
// meaning, and one table per dataset of the others.
func fieldTables(t *testing.T) (common string, own map[string]string) {
	rows := map[string]map[string]string{} // dataset, path, meaning
	fields(t, func(dataset, path string, field map[string]any) {
		if rows[dataset] == nil {
			rows[dataset] = map[string]string{}
		}
		rows[dataset][path] = meaning(field)
	})
	shared := maps.Clone(rows["vft.trap"])
	for _, fields := range rows {
		maps.DeleteFunc(shared, func(path, means string) bool { return fields[path] != means })
	}
	own = map[string]string{}
	for dataset, fields := range rows {
		maps.DeleteFunc(fields, func(path, means string) bool { return shared[path] == means })
		own[dataset] = table(fields)
	}
	return table(shared), own
}

func table(fields map[string]string) string {
	var b strings.Builder
	b.WriteString("| field | meaning |\n|---|---|\n")
	for _, path := range slices.Sorted(maps.Keys(fields)) {
		fmt.Fprintf(&b, "| %s | %s |\n", path, strings.ReplaceAll(fields[path], "|", `\|`))
	}
	return b.String()
}

// meaning returns the description of a field and the values that it may have.
func meaning(field map[string]any) string {
	text, _ := field["description"].(string)
	values, _ := field["enum"].([]any)
	if one, ok := field["const"]; ok {
		values = []any{one}
	}
	for i, v := range values {
		shown, isText := v.(string)
		if !isText {
			list, _ := json.Marshal(v)
			shown = string(list)
		}
		separator := ", "
		if i == 0 {
			separator = " "
		}
		text += separator + "`" + shown + "`"
	}
	return text
}
