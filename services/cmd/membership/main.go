// Command membership runs Cairn's membership service as a process of its own.
package main

import (
	"cairn.care/services/chassis"
	"cairn.care/services/membership"
)

func main() { chassis.Main("membership", membership.Component()) }
