package groups

import (
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/rekey"
)

// sealed is what of the database hangs on the keyset.
func sealed() rekey.Schema {
	return rekey.Schema{Columns: []rekey.Column{{Table: "facilitators", Name: "email", ID: "id", Type: "uuid", Context: func(id string) []byte {
		return crypt.Context("facilitators/"+id, "email")
	}}}}
}
