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

// OpenAPIModelName returns the name of the type.
func (Credential) OpenAPIModelName() string { return model + "Credential" }

// OpenAPIModelName returns the name of the type.
func (CredentialList) OpenAPIModelName() string { return model + "CredentialList" }

// OpenAPIModelName returns the name of the type.
func (CredentialStatus) OpenAPIModelName() string { return model + "CredentialStatus" }

// OpenAPIModelName returns the name of the type.
func (CredentialUser) OpenAPIModelName() string { return model + "CredentialUser" }

// OpenAPIModelName returns the name of the type.
func (CredentialRequester) OpenAPIModelName() string { return model + "CredentialRequester" }

// OpenAPIModelName returns the name of the type.
func (CredentialReference) OpenAPIModelName() string { return model + "CredentialReference" }
