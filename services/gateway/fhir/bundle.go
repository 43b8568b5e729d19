package fhir

import "net/http"

const (
	maxBatch          = 100
	transactionLimits = ""
)

func (f *Face) bundle(w http.ResponseWriter, r *http.Request) error {
	return notAllowed(w, r)
}
