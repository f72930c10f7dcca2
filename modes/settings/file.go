package settings

import (
	"strings"

	"vft/yamlfile"
)

// parseFile reads a YAML file: one mapping from option names to values, each a
// scalar or a list of scalars.
func parseFile(path string, text []byte, options []Option) (map[string]givenText, error) {
	entries, err := yamlfile.Parse(path, text)
	if err != nil {
		return nil, err
	}
	layer := map[string]givenText{}
	for _, entry := range entries {
		option := findOption(options, entry.Key)
		if option == nil {
			return nil, yamlfile.Errorf(entry.Where, "%s is not a setting of vft%s", entry.Key, suggestOption(options, entry.Key))
		}
		texts, err := entryTexts(path, entry, option)
		if err != nil {
			return nil, err
		}
		layer[option.Name] = givenText{texts, Origin{"file", entry.Where}}
	}
	return layer, nil
}

// entryTexts returns the values of an entry, at least one.
func entryTexts(path string, entry yamlfile.Entry, option *Option) ([]string, error) {
	items := yamlfile.Items(entry.Value)
	if len(items) > 1 && !option.Value.List {
		return nil, yamlfile.Errorf(entry.Place(), "takes one value, not a list")
	}
	texts := []string{}
	for _, item := range items {
		text, err := yamlfile.Scalar(path, item)
		if err != nil {
			return nil, yamlfile.Errorf(entry.Place(), "takes a value or a list of values, not a mapping")
		}
		texts = append(texts, text)
	}
	if len(texts) == 0 {
		texts = []string{option.Value.bare}
	}
	return texts, nil
}

func findOption(options []Option, name string) *Option {
	for i := range options {
		if options[i].Name == name {
			return &options[i]
		}
	}
	return nil
}

// suggestOption names the option that was probably meant.
func suggestOption(options []Option, name string) string {
	dashed := strings.ReplaceAll(strings.ToLower(name), "_", "-")
	for _, o := range options {
		if o.Name == dashed || dashed != "" && strings.HasPrefix(o.Name, dashed) {
			return "; did you mean " + o.Name + "?"
		}
	}
	return "; `vft config show` lists them"
}
