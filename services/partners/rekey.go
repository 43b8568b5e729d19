package partners

import (
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/rekey"
)

// sealed is what of the database hangs on the keyset.
func sealed() rekey.Schema {
	columns := []rekey.Column{{Table: "signing_keys", Name: "sealed", ID: "kid", Type: "text", Context: sealContext}}
	for _, name := range []string{"secret", "previous_secret", "fhir_headers"} {
		columns = append(columns, rekey.Column{Table: "webhook_subscriptions", Name: name, ID: "id", Type: "uuid", Context: func(id string) []byte {
			return crypt.Context(webhookSubscriptions+"/"+id, name)
		}})
	}
	return rekey.Schema{Columns: columns}
}
