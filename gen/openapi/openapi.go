// Package openapi holds the OpenAPI 3.1 description of Cairn's REST face.
package openapi

import _ "embed"

//go:embed cairn.json
var description string

// JSON returns the description as JSON text.
func JSON() string { return description }
