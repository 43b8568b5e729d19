// Command referral runs Cairn's referral service as a process of its own.
package main

import (
	"cairn.care/services/chassis"
	"cairn.care/services/referral"
)

func main() { chassis.Main("referral", referral.Component()) }
