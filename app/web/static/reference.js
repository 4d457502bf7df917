// The API's reference: Swagger UI on this service's own OpenAPI document.
"use strict";
SwaggerUIBundle({ url: document.documentElement.dataset.root + "/openapi.json", dom_id: "#reference", deepLinking: true, validatorUrl: null });
