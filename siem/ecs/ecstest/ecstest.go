// Package ecstest checks records against the JSON Schemas of docs/schema.
// Tests that make records call Validate on each.
package ecstest

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"vft/docs/schema"
)

// Validate fails the test when line is not one record of a known dataset that
// keeps to its schema.
func Validate(t testing.TB, line []byte) {
	t.Helper()
	if err := Check(line); err != nil {
		t.Errorf("%v\n%s", err, line)
	}
}

// Check returns why line is not a record that keeps to its schema, or nil.
func Check(line []byte) error {
	if bytes.ContainsAny(bytes.TrimSuffix(line, []byte{'\n'}), "\r\n") {
		return fmt.Errorf("the record is more than one line")
	}
	record, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
	if err != nil {
		return fmt.Errorf("the record is not JSON: %w", err)
	}
	object, _ := record.(map[string]any)
	header, _ := object["event"].(map[string]any)
	dataset, _ := header["dataset"].(string)
	known, err := schemas()
	if err != nil {
		return err
	}
	schema, ok := known[dataset]
	if !ok {
		return fmt.Errorf("event.dataset %q has no schema", dataset)
	}
	return schema.Validate(record)
}

// schemas returns the compiled schema of each dataset.
var schemas = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	compiler.AssertContent()
	names, err := fs.Glob(schema.Files, "*.json")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := schema.Files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("docs/schema/%s: %w", name, err)
		}
		if err := compiler.AddResource(name, parsed); err != nil {
			return nil, err
		}
	}
	compiled := map[string]*jsonschema.Schema{}
	for _, name := range names {
		s, err := compiler.Compile(name)
		if err != nil {
			return nil, err
		}
		compiled[strings.TrimSuffix(name, ".json")] = s
	}
	delete(compiled, "common")
	return compiled, nil
})
