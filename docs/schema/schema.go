// Package schema holds the JSON Schemas (draft 2020-12) of the records that vft
// writes: one file per dataset, named by it, and the parts that they share.
package schema

import "embed"

// Files holds DATASET.json for each dataset, and common.json.
//
//go:embed *.json
var Files embed.FS
