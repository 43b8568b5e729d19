// Command groups runs Cairn's groups service as a process of its own.
package main

import (
	"cairn.care/services/chassis"
	"cairn.care/services/groups"
)

func main() { chassis.Main("groups", groups.Component()) }
