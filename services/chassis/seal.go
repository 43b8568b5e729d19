package chassis

// Seal encrypts what a caller is to hand back, fit for a URL; every process of the installation opens it, for the same purpose.
func (h *Host) Seal(purpose string, plain []byte) (string, error) {
	return h.process.identities.Seal(purpose, plain)
}

// Open decrypts what Seal made.
func (h *Host) Open(purpose, sealed string) ([]byte, error) {
	return h.process.identities.Open(purpose, sealed)
}
