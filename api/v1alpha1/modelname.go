package v1alpha1

// Names of the types in OpenAPI.

const model = "dev.gatehouse.v1alpha1."

// OpenAPIModelName returns the name of the type.
func (Revocation) OpenAPIModelName() string { return model + "Revocation" }

// OpenAPIModelName returns the name of the type.
func (RevocationSpec) OpenAPIModelName() string { return model + "RevocationSpec" }

// OpenAPIModelName returns the name of the type.
func (RevokedCertificate) OpenAPIModelName() string { return model + "RevokedCertificate" }

// OpenAPIModelName returns the name of the type.
func (RevokedToken) OpenAPIModelName() string { return model + "RevokedToken" }

// OpenAPIModelName returns the name of the type.
func (RevokedKey) OpenAPIModelName() string { return model + "RevokedKey" }

// OpenAPIModelName returns the name of the type.
func (RevokedServiceAccount) OpenAPIModelName() string { return model + "RevokedServiceAccount" }

// OpenAPIModelName returns the name of the type.
func (RevocationAuthor) OpenAPIModelName() string { return model + "RevocationAuthor" }

// OpenAPIModelName returns the name of the type.
func (RevocationList) OpenAPIModelName() string { return model + "RevocationList" }
