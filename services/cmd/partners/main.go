// Command partners runs Cairn's partners service as a process of its own.
package main

import (
	"cairn.care/services/chassis"
	"cairn.care/services/partners"
)

func main() { chassis.Main("partners", partners.Component()) }
