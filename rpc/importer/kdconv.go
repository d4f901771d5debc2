package importer

// kdConv reads KdConv: messages without roles, whose speakers take turns.
type kdConv struct{}

func (kdConv) claims(h head) claim {
	list, _ := chatMessages(h.first())
	return claimIf(list != nil && !anyMessage(list, func(f fields) bool { return f.firstText("role", "from") != "" }))
}

func (kdConv) read(it *item, out *scribe) error {
	readChat(it, out, dialect{alternating: true})
	return nil
}
