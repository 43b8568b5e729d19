// Package gen holds Cairn's generated API code: what a Go consumer of the API imports.
package gen
