// Command scheduling runs Cairn's scheduling service as a process of its own.
package main

import (
	"cairn.care/services/chassis"
	"cairn.care/services/scheduling"
)

func main() { chassis.Main("scheduling", scheduling.Component()) }
