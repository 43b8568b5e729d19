package fault

// NoFiles is what whoever sends a file with a message is told.
const NoFiles = "messages carry no files. Send the document where your organizations exchange documents (Direct, your health information " +
	"exchange, a portal) and name its number here; a signed consent is named in consent.document, and what a receiver has to know of the " +
	"person belongs into needs and reason_codes"
