package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestCommandsAreListed looks up every command in the help of the program and in the README.
func TestCommandsAreListed(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			if sub.HasSubCommands() {
				walk(sub)
				continue
			}
			if !strings.Contains(rootCommand().Long, "  "+sub.CommandPath()+" ") {
				t.Errorf("cairn --help does not list %s", sub.CommandPath())
			}
			if !strings.Contains(string(readme), "\n| `"+sub.CommandPath()) {
				t.Errorf("README.md does not list %s", sub.CommandPath())
			}
		}
	}
	walk(rootCommand())
}
