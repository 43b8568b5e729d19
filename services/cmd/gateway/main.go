// Command gateway runs Cairn's gateway service as a process of its own.
package main

import (
	"cairn.care/services/chassis"
	"cairn.care/services/gateway"
)

func main() { chassis.Main("gateway", gateway.Component()) }
